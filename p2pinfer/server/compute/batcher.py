"""The steps that wait, and the batches made of them. `schedule.py` decides which tokens run when.

While a batch runs, steps gather, and the next batch takes them together (continuous batching), whatever
layers they run through. A session has one step here at a time, so the admitted sessions bound the queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from p2pinfer.model.engine.base import Chunk, Engine, Hidden, SequenceCache
from p2pinfer.server.compute.budget import PAGE_TOKENS
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.compute.copies import Copies
from p2pinfer.server.compute.rates import ChunkSize, Rates
from p2pinfer.server.compute.schedule import (
    Demand,
    FairShares,
    plan_batch,
    prefill_budget,
)
from p2pinfer.server.compute.speed import Speed
from p2pinfer.server.prefixes.prefix_store import PrefixStore
from p2pinfer.types import LayerSeconds
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import all_tokens

logger = logging.getLogger(__name__)

_DECODING_SECONDS = 0.5
"""Sessions count as decoding for this long after their last step. A step that is away at the other hops comes
back, and would otherwise find the engine busy with a prefill of any length."""


@dataclass(frozen=True, slots=True)
class RowInput:
    """The new tokens of one row, from `position` on. Tokens that are cached beyond it are forgotten."""

    cache: SequenceCache
    position: int
    hidden: Hidden


@dataclass(slots=True, eq=False)
class QueuedStep:
    """One step of a session. All rows have caches for the same layers.

    Rows run in order, each from where the last batch left off. `report` is called once, on the thread that
    runs the batches, with the outputs or with what the engine raised.
    """

    client: bytes
    kind: StepKind
    rows: Sequence[RowInput]
    report: Callable[[Computed | Exception], None]
    is_patient: bool = False
    """Nobody waits for it: it stands back behind the client's other steps, and behind whoever decodes."""
    source: Hashable = None
    """The network that the client comes from; None: it isn't told apart."""
    is_known: bool = True
    """The client has merit: it isn't served as one with all strangers."""
    arrived: float = field(default_factory=time.perf_counter)
    tokens: int = field(init=False)
    done_tokens: int = 0
    compute_seconds: float = 0.0
    _taken: list[int] = field(default_factory=list)  # rows of the chunks in the batch that runs
    _parts: dict[int, list[Hidden]] = field(default_factory=dict)  # outputs by row

    def __post_init__(self) -> None:
        self.tokens = sum(len(row.hidden) for row in self.rows)

    def demand(self, prefill: LayerSeconds) -> Demand:
        """The tokens that are left, where one token of a prefill costs `prefill` per layer."""
        layers = len(self.rows[0].cache.layers)
        return Demand(
            client=self.client,
            tokens=self.tokens - self.done_tokens,
            urgent=self.is_urgent,
            layers=layers,
            token_seconds=layers * prefill.after(self.context),
            patient=self.is_patient,
            source=self.source,
            is_known=self.is_known,
        )

    @property
    def is_urgent(self) -> bool:
        """True if a reader waits for each of its tokens."""
        return self.kind.is_urgent and not self.is_patient

    @property
    def context(self) -> int:
        """Tokens before the first one of this step."""
        return self.rows[0].position

    def take(self, tokens: int) -> list[Chunk]:
        """The next `tokens` tokens, row by row."""
        chunks = []
        self._taken = []
        skipped, end = 0, self.done_tokens + tokens
        for index, row in enumerate(self.rows):
            length = len(row.hidden)
            first, last = max(self.done_tokens - skipped, 0), min(end - skipped, length)
            if first < last:
                if first == 0 and row.position < row.cache.length:
                    row.cache.rewind(row.position)
                chunks.append(
                    Chunk(row.cache, row.hidden if last - first == length else row.hidden[first:last])
                )
                self._taken.append(index)
            skipped += length
        self.done_tokens = end
        return chunks

    def collect(self, outputs: Iterator[Hidden], seconds: float) -> bool:
        """Keep the outputs of the chunks that `take` returned. True: the step is finished."""
        self.compute_seconds += seconds
        for index in self._taken:
            self._parts.setdefault(index, []).append(next(outputs))
        return self.done_tokens == self.tokens

    def outcome(self, now: float) -> Computed:
        """The result of a finished step; `now` is the time by the clock of `arrived`."""
        waited = max(0.0, now - self.arrived - self.compute_seconds)
        outputs = [all_tokens(self._parts[index]) for index in range(len(self.rows))]
        return Computed(outputs, waited, self.compute_seconds)


class Batcher:
    """Owns the engine. One thread uses both. `rates` begin with `speed`, and follow what batches take."""

    def __init__(self, engine: Engine, speed: Speed) -> None:
        self._engine = engine
        self._backlog: list[QueuedStep] = []
        self._shares = FairShares()
        self._decoding: dict[tuple[Hashable, Hashable], float] = {}
        """Networks, with their parties, and when each had an urgent step here last."""
        self.duty = 1.0  # the fraction of time that batches may take
        self.rates = Rates(speed, time.time())
        self.copies = Copies(engine.cache_bytes_per_token / len(engine.span))
        """FORK steps and the like, which run beside batches."""
        self.prefixes = PrefixStore(engine.new_cache, page_tokens=PAGE_TOKENS)
        """What sessions have left here for later ones."""

    @property
    def hidden_size(self) -> int:
        """The width of the hidden states."""
        return self._engine.hidden_size

    @property
    def depth(self) -> int:
        """Steps that wait or run. Any thread may ask."""
        return len(self._backlog) + len(self.copies)

    def add(self, work: QueuedStep) -> None:
        """Let a step wait for its turn."""
        self._backlog.append(work)

    def release(self, caches: Sequence[SequenceCache]) -> None:
        """Free a session's caches. If a step of the session still waits, it is dropped and not reported."""
        freed = {id(cache) for cache in caches}
        self._backlog = [work for work in self._backlog if id(work.rows[0].cache) not in freed]
        self.copies.drop(freed)
        for cache in caches:
            cache.release()

    def run(self) -> None:
        """Copy a piece of a row, run one batch, and report the steps that are done or have failed."""
        self.copies.run_piece()
        if not self._backlog:
            return
        batch = self._choose()
        started = time.perf_counter()
        try:
            chunks = [chunk for work, tokens in batch for chunk in work.take(tokens)]
            sizes = [ChunkSize(len(chunk.hidden), chunk.cache.length, chunk.cache.layers) for chunk in chunks]
            outputs = self._engine.forward(chunks)
        except Exception as error:  # whatever the engine raises is reported to these steps
            logger.exception("a batch of %d steps failed", len(batch))
            self._report([(work, error) for work, _ in batch])
            return
        now = time.perf_counter()
        left = iter(outputs)
        finished = [work for work, _ in batch if work.collect(left, now - started)]
        self.rates.observe(sizes, now - started, time.time())
        self._report([(work, work.outcome(now)) for work in finished])

    def _choose(self) -> list[tuple[QueuedStep, int]]:
        """Return the next batch: steps, and how many tokens of each."""
        now = time.perf_counter()
        demands = [work.demand(self.rates.prefill) for work in self._backlog]
        for demand in demands:
            if demand.urgent:
                self._decoding[demand.network] = now
        before = now - _DECODING_SECONDS
        self._decoding = {network: at for network, at in self._decoding.items() if at > before}
        budget = prefill_budget(
            decoding=bool(self._decoding),
            duty=self.duty,
            step_seconds=self.rates.decode.first * len(self._engine.span),
            networks={*self._decoding, *(demand.network for demand in demands)},
        )
        taken = plan_batch(demands, self._shares, budget)
        return [(work, tokens) for work, tokens in zip(self._backlog, taken, strict=True) if tokens]

    def _report(self, outcomes: Sequence[tuple[QueuedStep, Computed | Exception]]) -> None:
        answered = {id(work) for work, _ in outcomes}
        self._backlog = [work for work in self._backlog if id(work) not in answered]
        for work, outcome in outcomes:
            work.report(outcome)
