"""The ledger behind a thread of its own: the disk takes its time, and the event loop has none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from p2pinfer.errors import LedgerError
from p2pinfer.owner.ledger.acceptance import Expected
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Work

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_RECEIPTS_AT_ONCE = 256


class Book:
    """Writes down what was worked and signed. Use as a context manager, in the event loop.

    Receipts that come together are written together: each transaction waits for the disk once.
    """

    def __init__(self, path: Path) -> None:
        """`path` is the ledger's. It is opened, or made, as the block begins, which may raise LedgerError."""
        self._path = path
        self._loop: asyncio.AbstractEventLoop
        self._work: queue.SimpleQueue[Callable[[Ledger], None] | _Entry | None] = queue.SimpleQueue()
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
        """Everything that was noted before is written when the block has ended."""
        self._work.put(None)
        self._thread.join(timeout=10)
        self._ledger.close()

    async def add_receipt(self, receipt: SignedReceipt) -> str | None:
        """Keep a receipt for good; or say why not. Raises LedgerError if it can't be written."""
        entry = _Entry(receipt, self._loop.create_future())
        self._work.put(entry)
        return await entry.outcome

    def add_session(self, expected: Expected, work: Work, *, started_at: float, ended_at: float) -> None:
        """Note a session that has ended, with all its work, signed or not."""
        self.note(
            lambda ledger: ledger.add_session(
                server=expected.server,
                session_id=expected.session_id,
                client=expected.client,
                model=expected.model,
                layers=expected.layers,
                work=work,
                started_at=started_at,
                ended_at=ended_at,
            )
        )

    def note(self, write: Callable[[Ledger], None]) -> None:
        """Have something written, and don't wait; if it can't be, that is logged."""
        self._work.put(write)

    async def ask(self, question: Callable[[Ledger], T]) -> T:
        """Read something, after what was noted before. Raises LedgerError."""
        answer: asyncio.Future[T] = self._loop.create_future()

        def read(ledger: Ledger) -> None:
            try:
                result = question(ledger)
            except Exception as error:  # noqa: BLE001  nobody may wait for ever
                self._tell(_fail, answer, _as_ledger_error(error))
            else:
                self._tell(_resolve, answer, result)

        self._work.put(read)
        return await answer

    def _write_forever(self) -> None:
        while (work := self._work.get()) is not None:
            if isinstance(work, _Entry):
                work = self._write_receipts(work)
                if work is None:
                    continue
            try:
                work(self._ledger)
            except Exception as error:  # noqa: BLE001  the thread goes on: receipts are to come
                logger.error("not written down: %s", _as_ledger_error(error))

    def _write_receipts(self, first: _Entry) -> Callable[[Ledger], None] | None:
        """Write this one and those that wait behind it; returns other work that was found there."""
        entries = [first]
        other: Callable[[Ledger], None] | None = None
        with contextlib.suppress(queue.Empty):
            while len(entries) < _MAX_RECEIPTS_AT_ONCE:
                following = self._work.get_nowait()
                if not isinstance(following, _Entry):
                    if following is None:
                        self._work.put(None)
                    other = following
                    break
                entries.append(following)
        try:
            reasons = self._ledger.add_receipts([entry.receipt for entry in entries])
        except Exception as error:  # noqa: BLE001  nobody may wait for ever
            for entry in entries:
                self._tell(_fail, entry.outcome, _as_ledger_error(error))
        else:
            for entry, reason in zip(entries, reasons, strict=True):
                self._tell(_resolve, entry.outcome, reason)
        return other

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)


class _Entry:
    """A receipt, and who waits for it to be written."""

    def __init__(self, receipt: SignedReceipt, outcome: asyncio.Future[str | None]) -> None:
        self.receipt = receipt
        self.outcome = outcome


def _as_ledger_error(error: Exception) -> LedgerError:
    """What the ledger expects to go wrong, or a fault of ours."""
    return error if isinstance(error, LedgerError) else LedgerError(f"a fault in p2pinfer: {error!r}")


def _resolve(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[T], error: LedgerError) -> None:
    if not answer.done():
        answer.set_exception(error)
