"""Turns what bench_throughput measured into figures and goals (pure)."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.benchmarks.shared.report import Spread
from scripts.benchmarks.throughput.plan import (
    BATCHES,
    BF16,
    IDLE_STATES,
    LARGE_MEMORY,
    LARGE_STREAM,
    LLAMA_CPP,
    MEMORY,
    ONE_PROCESS,
    PREFILL,
    SIX_PEERS,
    STREAM,
    THREE_PEERS,
    batch_task,
)

Run = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A goal. `found` is None where it wasn't measured."""

    what: str
    limit: float
    at_least: bool
    unit: str
    found: Spread | None

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal."""
        if self.found is None:
            return None
        return self.found.median >= self.limit if self.at_least else self.found.median <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenParts:
    """Where the time of one token goes, in milliseconds, medians over all tokens."""

    engines: float
    queues: float
    rest: float
    client: float
    hop: Spread  # outside of compute, per message; the spread is that of the runs


class Figures:
    """Computes figures from the numbers of one run, as `measure` returns them."""

    def __init__(self, measured: dict[str, Any]) -> None:
        self._measured = measured

    def contenders(self, task: str) -> list[str]:
        """The contenders that did a task."""
        return list(self._measured["runs"].get(task, {}))

    def runs(self, task: str, contender: str) -> list[Run]:
        """The answers of one contender, round by round; empty if the contender had no turn."""
        runs: list[Run] = self._measured["runs"].get(task, {}).get(contender, [])
        return runs

    def rates(self, task: str, contender: str) -> list[float]:
        """Tokens per second of all streams together: after the first token, or of the prompt in a prefill."""
        runs = self.runs(task, contender)
        if task == PREFILL:
            return [self._measured["prefill_tokens"] / run["seconds"] for run in runs]
        later = self._measured["num_tokens"] - 1
        return [run["streams"] * later / run["later_seconds"] for run in runs]

    def open_route_prefill(self) -> list[float]:
        """The swarm's prompt tokens per second once a route is open."""
        runs = self.runs(PREFILL, THREE_PEERS)
        return [self._measured["prefill_tokens"] / run["open_seconds"] for run in runs]

    def ratio(self, task: str, contender: str, baseline: str) -> Spread | None:
        """How many times as fast the first contender is as the second, round by round."""
        return ratios(self.rates(task, contender), self.rates(task, baseline))

    def token_parts(self) -> TokenParts | None:
        """Where a token's time goes in the single stream of three peers."""
        runs = self.runs(STREAM, THREE_PEERS)
        if not runs:
            return None
        later = [step for run in runs for step in run["steps"][1:]]
        client = [
            (run["later_seconds"] - sum(wall for wall, _, _ in run["steps"][1:])) / len(run["steps"][1:])
            for run in runs
        ]
        return TokenParts(
            engines=milliseconds(engines for _, engines, _ in later),
            queues=milliseconds(queues for _, _, queues in later),
            rest=milliseconds(wall - engines - queues for wall, engines, queues in later),
            client=milliseconds(client),
            hop=Spread(
                median=milliseconds(outside_per_message(runs)),
                least=min(milliseconds(outside_per_message([run])) for run in runs),
                most=max(milliseconds(outside_per_message([run])) for run in runs),
            ),
        )

    def one_process_parts(self) -> tuple[float, float] | None:
        """Milliseconds per token in all layers and in the ends, without a network."""
        runs = self.runs(STREAM, ONE_PROCESS)
        if not runs:
            return None
        later = self._measured["num_tokens"] - 1
        layers = milliseconds(run["layers_seconds"] / later for run in runs)
        return layers, milliseconds(run["ends_seconds"] / later for run in runs)

    def bandwidth(self) -> tuple[str, Spread] | None:
        """The fastest way to read memory, and its gigabytes per second."""
        runs = [run["gigabytes_per_second"] for run in self.runs(LARGE_MEMORY, MEMORY)]
        if not runs:
            return None
        best = max(runs[0], key=lambda name: statistics.median(run[name] for run in runs))
        return best, Spread.of([run[best] for run in runs])

    def bound_share(self, contender: str) -> Spread | None:
        """The large model's tokens per second as a share of what memory bandwidth allows."""
        bandwidth, rates = self.bandwidth(), self.rates(LARGE_STREAM, contender)
        if bandwidth is None or not rates:
            return None
        bound = bandwidth[1].median * 1e9 / self._measured["large"]["bytes_per_token"]
        return Spread.of([rate / bound for rate in rates])

    def idle_percent(self, state: str) -> Spread | None:
        """The share of a core of an idle server with its p2pd; the median is the busiest server's."""
        shares = self._measured["idle"].get(state)
        if shares is None:
            return None
        percents = [100 * (share["own"] + share["children"]) for share in shares["servers"].values()]
        return Spread(median=max(percents), least=min(percents), most=max(percents))


def goals(figures: Figures) -> Iterator[Goal]:
    """All goals, in the order of the table."""

    def times(what: str, limit: float, found: Spread | None) -> Goal:
        return Goal(what=what, limit=limit, at_least=True, unit="x", found=found)

    ratio = figures.ratio
    yield times("one process / llama.cpp, 1 stream", 1.5, ratio(STREAM, ONE_PROCESS, LLAMA_CPP))
    yield times("three peers / llama.cpp, 1 stream", 1.0, ratio(STREAM, THREE_PEERS, LLAMA_CPP))
    yield times("three peers / transformers bf16, 1 stream", 4.0, ratio(STREAM, THREE_PEERS, BF16))
    yield times("six peers / three peers, 1 stream", 0.8, ratio(STREAM, SIX_PEERS, THREE_PEERS))
    for streams in BATCHES:
        task = batch_task(streams)
        yield times(f"three peers / llama.cpp, {task}", 1.5, ratio(task, THREE_PEERS, LLAMA_CPP))
    yield times("three peers / llama.cpp, prefill", 1.5, ratio(PREFILL, THREE_PEERS, LLAMA_CPP))
    parts = figures.token_parts()
    yield Goal(
        what="one hop outside compute, p50",
        limit=0.3,
        at_least=False,
        unit=" ms",
        found=None if parts is None else parts.hop,
    )
    yield times("large model, three peers / bandwidth bound", 0.7, figures.bound_share(THREE_PEERS))
    for state in IDLE_STATES:
        yield Goal(
            what=f"idle server with its p2pd, {state}",
            limit=1.0,
            at_least=False,
            unit=" %",
            found=figures.idle_percent(state),
        )


def goals_as_json(figures: Figures) -> list[dict[str, Any]]:
    """The goals with their verdicts, for a file."""
    return [dataclasses.asdict(goal) | {"met": goal.met} for goal in goals(figures)]


def ratios(rates: Sequence[float], baseline: Sequence[float]) -> Spread | None:
    """The ratios round by round, so that a machine that is slow for a minute doesn't change them."""
    pairs = list(zip(rates, baseline, strict=False))
    return Spread.of([rate / base for rate, base in pairs]) if pairs else None


def outside_per_message(runs: Sequence[Run]) -> list[float]:
    """Seconds of one message, for every token: the time outside of compute, divided by the messages."""
    return [(wall - engines) / (run["hops"] + 1) for run in runs for wall, engines, _ in run["steps"][1:]]


def milliseconds(seconds: Iterable[float]) -> float:
    """The median."""
    return 1000 * statistics.median(seconds)
