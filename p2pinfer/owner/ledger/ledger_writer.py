"""The ledger behind a thread of its own: a write waits for the disk, and the event loop must not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from p2pinfer.errors import LedgerError
from p2pinfer.owner.ledger.acceptance import Expected
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.threads import answer
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_MAX_RECEIPTS_AT_ONCE = 256

_LATELY_SECONDS = 30 * 86_400.0
_MOST_CLIENTS = 4096
"""Clients that are known again after a start."""


@dataclass(frozen=True, slots=True, eq=False)
class _NewReceipt:
    """A receipt to be written, and the future of the caller that waits for it."""

    receipt: SignedReceipt
    before: Work
    reason: asyncio.Future[str | None]


class LedgerWriter:
    """Writes sessions, receipts and changes of state to the ledger. A context manager, in the event loop.

    Receipts that arrive at the same time are written in one transaction: each transaction waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        """`path` is the ledger. The block opens or makes it as it begins, and may raise LedgerError."""
        self._path = path
        self._loop: asyncio.AbstractEventLoop
        self._work: queue.SimpleQueue[Callable[[Ledger], None] | _NewReceipt | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_forever, name="ledger", daemon=True)
        self._ledger: Ledger

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger.open(self._path)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """When the block ends, everything that was noted before is on the disk."""
        self._work.put(None)
        self._thread.join(timeout=10)
        self._ledger.close()

    async def add_receipt(self, receipt: SignedReceipt, *, before: Work) -> str | None:
        """Keep a receipt for good. Returns None, or why the ledger does not take it.

        `before` is what its session was signed for already. Raises LedgerError if it can't be written.
        """
        new = _NewReceipt(receipt, before, self._loop.create_future())
        self._work.put(new)
        return await new.reason

    def add_session(
        self, expected: Expected, work: Work, signed: Work, *, started_at: float, ended_at: float
    ) -> None:
        """Note a session that has ended, with all its work, and with the part that was signed for."""
        self.note(
            lambda ledger: ledger.add_session(
                server=expected.server,
                session_id=expected.session_id,
                client=expected.client,
                model=expected.model,
                layers=expected.layers,
                work=work,
                signed=signed,
                started_at=started_at,
                ended_at=ended_at,
            )
        )

    async def signed_tokens(self) -> list[tuple[bytes, int]]:
        """What clients have signed for lately, in tokens; who signed last stands last. Raises LedgerError."""
        return await self.ask(
            lambda ledger: ledger.signed_tokens(since=time.time() - _LATELY_SECONDS, most=_MOST_CLIENTS)
        )

    def note(self, write: Callable[[Ledger], None]) -> None:
        """Write something soon, and don't wait for it. A failure is logged."""
        self._work.put(write)

    async def ask(self, question: Callable[[Ledger], _T]) -> _T:
        """Read something. The answer includes everything that was noted before. Raises LedgerError."""
        future: asyncio.Future[_T] = self._loop.create_future()
        self._work.put(lambda ledger: answer(future, partial(_asked, question, ledger)))
        return await future

    def _write_forever(self) -> None:
        while (work := self._work.get()) is not None:
            if isinstance(work, _NewReceipt):
                work = self._write_receipts(work)
                if work is None:
                    continue
            try:
                _asked(work, self._ledger)
            except LedgerError as error:
                logger.error("not written to the ledger: %s", error)

    def _write_receipts(self, first: _NewReceipt) -> Callable[[Ledger], None] | None:
        """Write `first` and the receipts right behind it; returns the other work that ends the row."""
        batch = [first]
        other: Callable[[Ledger], None] | None = None
        with contextlib.suppress(queue.Empty):
            while len(batch) < _MAX_RECEIPTS_AT_ONCE:
                following = self._work.get_nowait()
                if not isinstance(following, _NewReceipt):
                    if following is None:
                        self._work.put(None)
                    other = following
                    break
                batch.append(following)
        reasons: Sequence[str | None] | LedgerError
        try:
            reasons = _asked(
                lambda ledger: ledger.add_receipts(
                    [new.receipt for new in batch], before=[new.before for new in batch]
                ),
                self._ledger,
            )
        except LedgerError as error:
            reasons = error
        for index, new in enumerate(batch):
            answer(new.reason, partial(_reason, reasons, index))
        return other


def _asked(question: Callable[[Ledger], _T], ledger: Ledger) -> _T:
    """The answer of the ledger. Every exception becomes a LedgerError: the thread must go on."""
    try:
        return question(ledger)
    except LedgerError:
        raise
    except Exception as error:
        raise LedgerError(f"a fault in p2pinfer: {error!r}") from error


def _reason(reasons: Sequence[str | None] | LedgerError, index: int) -> str | None:
    if isinstance(reasons, LedgerError):
        raise reasons
    return reasons[index]
