"""What clients owe: the work of every session, and how much of it is signed for.

No step is begun that would leave more than so many tokens unsigned; the client is asked to sign well before.
It may also sign for a while after the session's end, so that nothing has to wait for that.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from p2pinfer.errors import InvalidReceiptError, LedgerError
from p2pinfer.identity import Identity
from p2pinfer.owner.ledger.acceptance import Expected, rejection
from p2pinfer.types import SessionId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, Work, countersign, read_receipt
from p2pinfer.wire.status import Reason, Refused

logger = logging.getLogger(__name__)

RECEIPT_SECONDS = 15.0
"""How long a step waits for the receipt that lets it begin, until the session ends."""

SETTLING_SECONDS = 60.0
"""How long a client may sign after the end of its session."""

_MAX_ENDED = 10_000
_SMALLEST_PART = 8
"""While a session is open each receipt must be for what was asked, or for 1/8 of the limit at least: each
is a write to the disk."""


class Book(Protocol):
    """Where signed work is written down."""

    async def add_receipt(self, receipt: SignedReceipt) -> str | None:
        """Keep a receipt for good; or say why not. Raises LedgerError if it can't be written."""

    def add_session(self, expected: Expected, work: Work, *, started_at: float, ended_at: float) -> None:
        """Note a session that has ended, with all its work."""


@dataclass(slots=True, eq=False, kw_only=True)
class Account:
    """One session's. `done` belongs to the thread that computes, the rest to the event loop."""

    expected: Expected
    control_key: bytes
    limit_tokens: int
    done: Work = field(default_factory=Work)
    last: Receipt | None = None
    asked: Work = field(default_factory=Work)  # what the client was last told that was done
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None

    @property
    def signed(self) -> Work:
        """What the ledger has a receipt for."""
        return Work() if self.last is None else self.last.work

    @property
    def unsigned_tokens(self) -> int:
        """What was done and not signed for."""
        return self.done.tokens - self.signed.tokens

    def may_run(self, tokens: int) -> bool:
        """True if a step of so many tokens may begin."""
        return self.unsigned_tokens + tokens <= self.limit_tokens

    def count(self, work: Work) -> None:
        """A step was computed."""
        self.done = self.done + work

    def is_due(self) -> bool:
        """True if half of the limit was done since the client signed, or was last asked to."""
        told = max(self.signed.tokens, self.asked.tokens)
        return self.done.tokens - told >= self.limit_tokens // 2

    def ask(self) -> pb.ServerFrame:
        """What the client is told: sign for all that was done."""
        self.asked = self.done
        return pb.ServerFrame(receipt_due=_due(self.done))


class Accounts:
    """Those of the sessions that are open, and of those that ended a short while ago. For the event loop."""

    def __init__(
        self,
        identity: Identity,
        book: Book,
        *,
        receipt_tokens: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Leave at most `receipt_tokens` unsigned in each session."""
        self.receipt_tokens = receipt_tokens
        self._identity = identity
        self._book = book
        self._now = now
        self._open: dict[SessionId, Account] = {}
        self._ended: dict[SessionId, Account] = {}  # in the order in which they ended
        self._settled = asyncio.Event()

    def open(self, client: bytes, terms: pb.Terms) -> Account:
        """Begin the account of a session."""
        expected = Expected(
            server=self._identity.peer_id,
            client=client,
            session_id=SessionId(terms.session_id),
            model=terms.model,
            layers=Span(terms.first_layer, terms.end_layer),
        )
        account = Account(
            expected=expected,
            control_key=terms.control_key,
            limit_tokens=self.receipt_tokens,
            started_at=self._now(),
        )
        self._open[expected.session_id] = account
        return account

    def close(self, account: Account) -> None:
        """The session has ended; its client may still sign."""
        del self._open[account.expected.session_id]
        account.ended_at = self._now()
        self._ended[account.expected.session_id] = account
        self.retire()

    def retire(self, *, everybody: bool = False) -> None:
        """Write down the sessions whose clients have signed for everything, or have had their time to."""
        deadline = self._now() - SETTLING_SECONDS
        surplus = len(self._ended) - _MAX_ENDED
        for index, account in enumerate(list(self._ended.values())):
            assert account.ended_at is not None
            if everybody or index < surplus or account.ended_at < deadline or not account.unsigned_tokens:
                del self._ended[account.expected.session_id]
                if account.done.tokens:
                    self._book.add_session(
                        account.expected,
                        account.done,
                        started_at=account.started_at,
                        ended_at=account.ended_at,
                    )

    @property
    def unsigned_tokens(self) -> int:
        """Of all sessions, also of those that have just ended."""
        return sum(account.unsigned_tokens for account in (*self._open.values(), *self._ended.values()))

    def find_for(self, ref: pb.SessionRef) -> Account:
        """The account that a client speaks of. Raises Refused if there is none, or if the key is wrong."""
        session_id = SessionId(ref.session_id)
        account = self._open.get(session_id) or self._ended.get(session_id)
        if account is None or not hmac.compare_digest(account.control_key, ref.control_key):
            raise Refused(Reason.UNKNOWN_SESSION, "no session here has this id and key")
        return account

    async def settle(self, account: Account, signed: SignedReceipt) -> pb.SettleReply:
        """Take a receipt: check it, sign it, keep it. Raises Refused for one that can't be taken.

        The reply to one that says more than was done tells what was.
        """
        try:
            receipt = read_receipt(signed)
        except InvalidReceiptError as error:
            raise Refused(Reason.BAD_RECEIPT, f"the receipt can't be taken: {error}") from error
        done = account.done
        if not receipt.work.within(done):
            return pb.SettleReply(done=_due(done))
        reason = rejection(
            receipt, expected=account.expected, last=account.last, done=done, now=self._now()
        ) or self._too_small(account, receipt)
        if reason is None:
            countersigned = countersign(signed, self._identity)
            try:
                reason = await self._book.add_receipt(countersigned)
            except LedgerError as error:
                logger.error("a receipt was lost: %s", error)
                raise Refused(Reason.FAILED, "this server can't write its ledger") from error
        if reason is not None:
            raise Refused(Reason.BAD_RECEIPT, f"the receipt can't be taken: {reason}")
        account.last = receipt
        self._settled.set()
        if account.ended_at is not None:
            self.retire()
        return pb.SettleReply(server_signature=countersigned.server_signature, done=_due(done))

    async def wait_settled(self, seconds: float) -> None:
        """Return when the clients of all sessions that have ended have signed, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self._ended:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return

    def _too_small(self, account: Account, receipt: Receipt) -> str | None:
        added = receipt.work.tokens - account.signed.tokens
        asked = account.asked.tokens > account.signed.tokens and account.asked.within(receipt.work)
        if account.ended_at is None and not asked and added < account.limit_tokens // _SMALLEST_PART:
            return f"it adds {added} tokens while the session is open: sign when asked, or at its end"
        return None


def _due(work: Work) -> pb.ReceiptDue:
    return pb.ReceiptDue(prefill_tokens=work.prefill_tokens, decode_tokens=work.decode_tokens)
