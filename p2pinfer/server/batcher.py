"""Runs the steps of all sessions on one compute thread, as many together as are waiting.

The event loop never computes and the compute thread never waits for the network: while a batch runs,
steps gather, and the next batch takes them together (continuous batching). What runs when is decided in
schedule.py. A session has one step here at a time, so what waits is bounded by the sessions admitted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pinfer.model.engine.base import Chunk, Engine, Hidden, SequenceCache
from p2pinfer.server.schedule import MIN_PREFILL_TOKENS, Demand, FairShares, plan_batch, prefill_budget
from p2pinfer.server.speed import Speed
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.steps import all_tokens

logger = logging.getLogger(__name__)

_DECODING_SECONDS = 0.5
"""Sessions count as decoding for so long after their last step: a step that is away at the other hops
comes back, and would find the engine busy with a prefill of any length."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The new tokens of one row, from `position` on; what is cached beyond it is forgotten."""

    cache: SequenceCache
    position: int
    hidden: Hidden


@dataclass(frozen=True, slots=True)
class Done:
    """The outputs of one step, and how long it waited and ran."""

    outputs: list[Hidden]
    queue_seconds: float
    compute_seconds: float


@dataclass(slots=True, eq=False)
class _Work:
    """A step on its way: rows are run in order, each from where the last batch left off."""

    client: bytes
    rows: Sequence[Rows]
    future: asyncio.Future[Done]
    arrived: float = field(default_factory=time.perf_counter)
    parts: list[list[Hidden]] = field(default_factory=list)
    tokens: int = 0
    done_tokens: int = 0
    compute_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.parts = [[] for _ in self.rows]
        self.tokens = sum(len(row.hidden) for row in self.rows)

    @property
    def decoding(self) -> bool:
        return self.tokens == len(self.rows)

    def demand(self) -> Demand:
        return Demand(self.client, self.tokens - self.done_tokens, self.decoding)

    def take(self, tokens: int) -> list[_Piece]:
        """The next `tokens` tokens, row by row."""
        pieces = []
        skipped, end = 0, self.done_tokens + tokens
        for index, row in enumerate(self.rows):
            first = max(self.done_tokens - skipped, 0)
            last = min(end - skipped, len(row.hidden))
            if first < last:
                pieces.append(_Piece(self, index, first, last))
            skipped += len(row.hidden)
        self.done_tokens = end
        return pieces


@dataclass(frozen=True, slots=True)
class _Piece:
    work: _Work
    index: int
    first: int
    last: int

    @property
    def row(self) -> Rows:
        return self.work.rows[self.index]


@dataclass(frozen=True, slots=True)
class _Release:
    caches: Sequence[SequenceCache]


class Batcher:
    """Owns the engine and the thread that alone may touch it. Use as a context manager.

    `speed` is where the running averages of both rates begin.
    """

    def __init__(self, engine: Engine, speed: Speed, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._inbox: queue.SimpleQueue[_Work | _Release | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run_forever, name="compute", daemon=True)
        self._waiting = 0
        self._shares = FairShares()
        self._last_decode = float("-inf")
        self.decode_seconds_per_layer = speed.decode_seconds_per_layer
        self.prefill_tokens_per_second = speed.prefill_tokens_per_second

    def __enter__(self) -> Batcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._inbox.put(None)
        self._thread.join(timeout=10)

    @property
    def queue_depth(self) -> int:
        """Steps that wait or run."""
        return self._waiting

    async def run(self, client: bytes, rows: Sequence[Rows]) -> Done:
        """Run one step of one of the client's sessions. All rows have caches for the same layers."""
        work = _Work(client, rows, self._loop.create_future())
        self._waiting += 1
        self._inbox.put(work)
        try:
            return await work.future
        finally:
            self._waiting -= 1

    def release(self, caches: Sequence[SequenceCache]) -> None:
        """Free caches once no running batch can be using them; steps that still wait are dropped."""
        self._inbox.put(_Release(caches))

    def _run_forever(self) -> None:
        backlog: list[_Work] = []
        while self._gather(backlog):
            backlog = [work for work in backlog if not work.future.cancelled()]
            if backlog:
                self._run_batch(self._choose(backlog), backlog)
        self._post([(work.future, Refused(Reason.LEAVING, "the server is leaving")) for work in backlog])

    def _gather(self, backlog: list[_Work]) -> bool:
        """Move what has arrived into the backlog, waiting if there is nothing. False: stop."""
        while True:
            try:
                item = self._inbox.get(block=not backlog)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, _Work):
                backlog.append(item)
            else:
                self._release(item.caches, backlog)

    def _release(self, caches: Sequence[SequenceCache], backlog: list[_Work]) -> None:
        freed = {id(cache) for cache in caches}
        dropped = [work for work in backlog if id(work.rows[0].cache) in freed]
        backlog[:] = [work for work in backlog if work not in dropped]
        gone = Refused(Reason.UNKNOWN_SESSION, "the session has ended")
        self._post([(work.future, gone) for work in dropped])
        for cache in caches:
            cache.release()

    def _choose(self, backlog: Sequence[_Work]) -> list[_Piece]:
        """The next batch. Sessions of other layers than the oldest step's have to wait for another."""
        layers = backlog[0].rows[0].cache.layers
        alike = [work for work in backlog if work.rows[0].cache.layers == layers]
        now = time.perf_counter()
        if any(work.decoding for work in alike):
            self._last_decode = now
        budget = prefill_budget(
            tokens_per_second=self.prefill_tokens_per_second,
            decoding=now - self._last_decode < _DECODING_SECONDS,
        )
        taken = plan_batch([work.demand() for work in alike], self._shares, budget)
        return [piece for work, tokens in zip(alike, taken, strict=True) for piece in work.take(tokens)]

    def _run_batch(self, batch: Sequence[_Piece], backlog: list[_Work]) -> None:
        """Run it, and take what is finished or failed out of the backlog."""
        works = list(dict.fromkeys(piece.work for piece in batch))
        started = time.perf_counter()
        try:
            outputs = self._forward(batch)
        except Exception as error:
            logger.exception("a batch of %d steps failed", len(works))
            self._post([(work.future, error) for work in works])
            backlog[:] = [work for work in backlog if work not in works]
            return
        seconds = time.perf_counter() - started
        for piece, output in zip(batch, outputs, strict=True):
            piece.work.parts[piece.index].append(output)
        finished: list[tuple[asyncio.Future[Done], Done | Exception]] = []
        for work in works:
            work.compute_seconds += seconds
            if work.done_tokens == work.tokens:
                waited = started + seconds - work.arrived - work.compute_seconds
                results = [all_tokens(parts) for parts in work.parts]
                finished.append((work.future, Done(results, max(0.0, waited), work.compute_seconds)))
                backlog.remove(work)
        self._measure(batch, seconds)
        self._post(finished)

    def _forward(self, batch: Sequence[_Piece]) -> list[Hidden]:
        chunks = []
        for piece in batch:
            row = piece.row
            if piece.first == 0 and row.position < row.cache.length:
                row.cache.rewind(row.position)
            chunks.append(Chunk(row.cache, row.hidden[piece.first : piece.last]))
        return self._engine.forward(chunks)

    def _measure(self, batch: Sequence[_Piece], seconds: float) -> None:
        tokens = sum(piece.last - piece.first for piece in batch)
        layers = len(batch[0].row.cache.layers)
        if tokens == 1:
            self.decode_seconds_per_layer = _smooth(self.decode_seconds_per_layer, seconds / layers)
        elif tokens >= MIN_PREFILL_TOKENS:
            whole_span = seconds / layers * len(self._engine.span)
            self.prefill_tokens_per_second = _smooth(self.prefill_tokens_per_second, tokens / whole_span)

    def _post(self, outcomes: Sequence[tuple[asyncio.Future[Done], Done | Exception]]) -> None:
        """Hand results to the event loop, in one wake-up."""
        if outcomes:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
                self._loop.call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: Sequence[tuple[asyncio.Future[Done], Done | Exception]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _smooth(old: float, new: float) -> float:
    return 0.9 * old + 0.1 * new
