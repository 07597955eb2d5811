"""What clients owe: the work of every session, and how much of it is signed for.

Accounts belong to the event loop. The computing thread counts the work and lets no step begin that would
leave too much unsigned (`server/streams/allowance.py`). A client may also sign for a while after the end of
its session, so that the end doesn't wait for it.
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
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.merits import Merits
from p2pinfer.identity import Identity
from p2pinfer.owner.ledger.acceptance import Expected, rejection
from p2pinfer.server.streams.progress import Progress
from p2pinfer.types import SessionId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, Work, countersign, read_receipt
from p2pinfer.wire.status import Reason, Refused

logger = logging.getLogger(__name__)

RECEIPT_SECONDS = 15.0
"""How long a step waits for the receipt that lets it begin. Then the session ends."""

SETTLING_SECONDS = 60.0
"""How long a client may sign after the end of its session."""

_MAX_ENDED = 10_000
_SMALLEST_PART = 8
"""While a session is open a receipt must be for what was asked, or for 1/8 of the limit at least: each one
is a write to the disk."""


class ReceiptKeeper(Protocol):
    """Where receipts and ended sessions are written down for good."""

    async def add_receipt(self, receipt: SignedReceipt, *, before: Work) -> str | None:
        """Keep a receipt, or return why not. Raises LedgerError if it can't be written.

        `before` is the work of the session that was signed for already.
        """

    async def signed_tokens(self) -> list[tuple[bytes, int]]:
        """What clients have signed for lately, in tokens; who signed last stands last. Raises LedgerError."""

    def add_session(
        self, expected: Expected, work: Work, signed: Work, *, started_at: float, ended_at: float
    ) -> None:
        """Note a session that has ended, with all its work, and with the part that was signed for."""


@dataclass(slots=True, eq=False, kw_only=True)
class Account:
    """The work of one session, and the last receipt for it. Times are Unix seconds."""

    expected: Expected
    guest: Guest
    control_key: bytes
    limit_tokens: int
    progress: Progress
    last: Receipt | None = None
    asked: Work = field(default_factory=Work)  # what the client was last asked to sign for
    started_at: float
    ended_at: float | None = None

    @property
    def done(self) -> Work:
        """What the computing thread has done so far."""
        return self.progress.done

    @property
    def signed(self) -> Work:
        """What the ledger has a receipt for."""
        return Work() if self.last is None else self.last.work

    @property
    def unsigned_tokens(self) -> int:
        """Tokens that were computed and not signed for."""
        return self.done.tokens - self.signed.tokens


class Accounts:
    """The accounts of the sessions that are open, and of those that ended a short while ago."""

    def __init__(
        self,
        identity: Identity,
        keeper: ReceiptKeeper,
        *,
        receipt_tokens: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Leave at most `receipt_tokens` unsigned in each session."""
        self.receipt_tokens = receipt_tokens
        self.merits = Merits()
        """Who has signed for work here."""
        self._identity = identity
        self._keeper = keeper
        self._now = now
        self._open: dict[SessionId, Account] = {}
        self._ended: dict[SessionId, Account] = {}  # in the order in which they ended
        self._settled = asyncio.Event()

    async def remember(self) -> None:
        """Know those again who have signed before. A ledger that can't be read knows nobody."""
        try:
            self.merits.load(await self._keeper.signed_tokens())
        except LedgerError as error:
            logger.warning("clients that have paid before are strangers: %s", error)

    def open(self, guest: Guest, terms: pb.Terms, progress: Progress) -> Account:
        """Begin the account of a guest's session, whose work is counted in `progress`."""
        assert guest.key is not None
        expected = Expected(
            server=self._identity.peer_id,
            client=guest.key,
            session_id=SessionId(terms.session_id),
            model=terms.model,
            layers=Span(terms.first_layer, terms.end_layer),
        )
        account = Account(
            expected=expected,
            guest=guest,
            control_key=terms.control_key,
            limit_tokens=self.receipt_tokens,
            progress=progress,
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
        """Write down ended sessions that are signed for, or whose clients have had `SETTLING_SECONDS`."""
        deadline = self._now() - SETTLING_SECONDS
        surplus = len(self._ended) - _MAX_ENDED
        for index, account in enumerate(list(self._ended.values())):
            assert account.ended_at is not None
            if everybody or index < surplus or account.ended_at < deadline or not account.unsigned_tokens:
                del self._ended[account.expected.session_id]
                if account.done.tokens:
                    self._keeper.add_session(
                        account.expected,
                        account.done,
                        account.signed,
                        started_at=account.started_at,
                        ended_at=account.ended_at,
                    )

    @property
    def unsigned_tokens(self) -> int:
        """Tokens that no receipt covers, in open sessions and in those that have just ended."""
        return sum(account.unsigned_tokens for account in (*self._open.values(), *self._ended.values()))

    def find_for(self, ref: pb.SessionRef) -> Account:
        """The account that a client names. Raises Refused if there is none, or if the key is wrong."""
        session_id = SessionId(ref.session_id)
        account = self._open.get(session_id) or self._ended.get(session_id)
        if account is None or not hmac.compare_digest(account.control_key, ref.control_key):
            raise Refused(Reason.UNKNOWN_SESSION, "no session here has this id and key")
        return account

    async def settle(self, account: Account, signed: SignedReceipt) -> pb.SettleReply:
        """Take a receipt: check it, sign it, keep it. Raises Refused for one that can't be taken.

        A receipt for more than was done isn't kept: the reply has no signature and says what was done.
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
                reason = await self._keeper.add_receipt(countersigned, before=account.signed)
            except LedgerError as error:
                logger.error("a receipt was lost: %s", error)
                raise Refused(Reason.FAILED, "this server can't write its ledger") from error
        if reason is not None:
            raise Refused(Reason.BAD_RECEIPT, f"the receipt can't be taken: {reason}")
        self.merits.signed(account.guest, receipt.work.tokens - account.signed.tokens)
        account.last = receipt
        self._settled.set()
        if account.ended_at is not None:
            self.retire()
        return pb.SettleReply(server_signature=countersigned.server_signature, done=_due(done))

    async def wait_settled(self, seconds: float) -> None:
        """Return when the clients of all ended sessions have signed, or after `seconds`."""
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


def receipt_due(done: Work) -> pb.ServerFrame:
    """What a client is told: sign for all that was done."""
    return pb.ServerFrame(receipt_due=_due(done))


def _due(work: Work) -> pb.ReceiptDue:
    return pb.ReceiptDue(prefill_tokens=work.prefill_tokens, decode_tokens=work.decode_tokens)
