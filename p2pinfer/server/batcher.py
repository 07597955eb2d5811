"""Runs the steps of all sessions on one compute thread, as many together as are waiting.

The event loop never computes and the compute thread never waits for the network: while a batch
runs, steps gather, and the next batch takes them together (continuous batching).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pinfer.model.engine.base import Chunk, Engine, Hidden, SequenceCache
from p2pinfer.server.speed import Speed
from p2pinfer.wire.status import Reason, Refused

logger = logging.getLogger(__name__)

MAX_BATCH_TOKENS = 512


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
    rows: Sequence[Rows]
    future: asyncio.Future[Done]
    arrived: float = field(default_factory=time.perf_counter)

    @property
    def tokens(self) -> int:
        return sum(len(row.hidden) for row in self.rows)


@dataclass(frozen=True, slots=True)
class _Release:
    caches: Sequence[SequenceCache]


def plan_batch(tokens: Sequence[int], max_tokens: int = MAX_BATCH_TOKENS) -> list[int]:
    """Choose which waiting steps run next, given the tokens of each in order of arrival.

    Small steps (decoding) go first, so that a long prefill doesn't stall them; the oldest step is
    always among the chosen, so that none waits for ever.
    """
    order = [0, *sorted(range(1, len(tokens)), key=lambda index: (tokens[index], index))]
    chosen: list[int] = []
    total = 0
    for index in order:
        if not chosen or total + tokens[index] <= max_tokens:
            chosen.append(index)
            total += tokens[index]
    return sorted(chosen)


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

    async def run(self, rows: Sequence[Rows]) -> Done:
        """Run one step of one session. All rows have caches for the same layers."""
        work = _Work(rows, self._loop.create_future())
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
        while True:
            if not self._gather(backlog):
                break
            if not backlog:
                continue
            layers = backlog[0].rows[0].cache.layers
            alike = [work for work in backlog if work.rows[0].cache.layers == layers]
            batch = [alike[index] for index in plan_batch([work.tokens for work in alike])]
            backlog = [work for work in backlog if work not in batch]
            self._run_batch([work for work in batch if not work.future.cancelled()])
        for work in backlog:
            self._post(work.future.cancel)

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
        for work in dropped:
            self._post(_set_exception, work.future, Refused(Reason.UNKNOWN_SESSION, "the session has ended"))
        for cache in caches:
            cache.release()

    def _run_batch(self, batch: Sequence[_Work]) -> None:
        if not batch:
            return
        started = time.perf_counter()
        try:
            outputs = self._forward([row for work in batch for row in work.rows])
        except Exception as error:
            logger.exception("a batch of %d steps failed", len(batch))
            for work in batch:
                self._post(_set_exception, work.future, error)
            return
        seconds = time.perf_counter() - started
        self._measure(batch, seconds)
        start = 0
        for work in batch:
            end = start + len(work.rows)
            done = Done(outputs[start:end], started - work.arrived, seconds)
            self._post(_set_result, work.future, done)
            start = end

    def _forward(self, rows: Sequence[Rows]) -> list[Hidden]:
        for row in rows:
            if row.position < row.cache.length:
                row.cache.rewind(row.position)
        return self._engine.forward([Chunk(row.cache, row.hidden) for row in rows])

    def _measure(self, batch: Sequence[_Work], seconds: float) -> None:
        tokens = sum(work.tokens for work in batch)
        layers = len(batch[0].rows[0].cache.layers)
        if tokens == 1:
            self.decode_seconds_per_layer = _smooth(self.decode_seconds_per_layer, seconds / layers)
        elif tokens >= 32:
            whole_span = seconds / layers * len(self._engine.span)
            self.prefill_tokens_per_second = _smooth(self.prefill_tokens_per_second, tokens / whole_span)

    def _post(self, callback: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            self._loop.call_soon_threadsafe(callback, *arguments)


def _set_result(future: asyncio.Future[Done], done: Done) -> None:
    if not future.done():
        future.set_result(done)


def _set_exception(future: asyncio.Future[Done], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _smooth(old: float, new: float) -> float:
    return 0.9 * old + 0.1 * new
