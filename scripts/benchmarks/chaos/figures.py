"""Turns what happened in bench_chaos into figures and goals (pure).

A *gap* is the time between two tokens of one generate() call, or between the call and its first token. (In a
batch, every step brings each sequence a token: a gap is the time between two steps.) The *excess* of a gap is
the time by which it exceeds the median gap of the same call; for a first token, the median of all such gaps.

The *stall* that a fault costs a session is the largest excess of the session's gaps that overlap the time
from the fault until the session has another server in its route instead, or until the fault is over (the
server is started again, resumed, healed, or gone), whichever is first. Only sessions count whose route had
the server when the fault began. A gap in which two such faults fall counts for both.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from scripts.benchmarks.chaos.faults import FaultKind
from scripts.benchmarks.shared.hosts import LOOPBACK

Event = Mapping[str, Any]

STALL_GOAL_SECONDS = {FaultKind.KILL: 3.0, FaultKind.STOP: 6.0, FaultKind.CUT: 6.0}
LAB_STALL_GOAL_SECONDS = 8.0
DRAIN_GOAL_STEPS = 2.0
DRAIN_GOAL_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The time between two tokens, or between a call and its first token."""

    start: float
    end: float
    first: bool
    usual: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def excess(self) -> float:
        """At least 0."""
        return max(0.0, self.seconds - self.usual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """What one fault cost one session."""

    kind: FaultKind
    client: int
    fault: int
    gap: Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A generation that ended; `identical` of its `compared` tokens are those of the undisturbed run."""

    client: int
    way: str
    compared: int
    identical: int
    replayed: int
    replaced: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A promise. `found` is None where it wasn't measured."""

    what: str
    limit: float
    unit: str
    found: float | None

    @property
    def met(self) -> bool | None:
        return None if self.found is None else self.found <= self.limit


class Figures:
    """Computes figures from what bench_chaos recorded."""

    def __init__(self, measured: Mapping[str, Any]) -> None:
        self.measured = measured
        self._clients: list[Sequence[Event]] = measured["clients"]
        self.generations = [
            generation
            for number, events in enumerate(self._clients)
            for generation in generations_of(number, events, measured["prompt_tokens"], measured["expected"])
        ]
        self.gaps = gaps_of(self._clients)
        self.stalls = list(self._stalls())

    @property
    def done(self) -> list[Generation]:
        """The generations that were completed."""
        return [generation for generation in self.generations if generation.error is None]

    @property
    def failed(self) -> list[Generation]:
        """The generations that raised an error."""
        return [generation for generation in self.generations if generation.error is not None]

    @property
    def compared(self) -> int:
        """The tokens of all completed generations."""
        return sum(generation.compared for generation in self.done)

    @property
    def identical(self) -> int:
        """How many of these tokens are as in the undisturbed run."""
        return sum(generation.identical for generation in self.done)

    @property
    def well(self) -> bool:
        """True if nothing failed, no token differs, there was no problem, and something was generated."""
        return bool(self.done) and not self.failed and not self.problems and self.identical == self.compared

    @property
    def problems(self) -> list[str]:
        """The problems: behaviour that no fault explains."""
        found: list[str] = self.measured["problems"]
        return found

    def kinds(self) -> list[FaultKind]:
        """The faults that happened."""
        return [kind for kind in FaultKind if self.count(kind)]

    def count(self, kind: FaultKind) -> int:
        """How many faults of this kind there were."""
        return sum(fault["kind"] == kind.value for fault in self.measured["faults"])

    def in_use(self, kind: FaultKind) -> int:
        """How many faults of this kind hit a server that was in use."""
        return sum(fault["kind"] == kind.value and bool(fault["users"]) for fault in self.measured["faults"])

    def stalls_of(self, kind: FaultKind) -> list[Stall]:
        """The stalls in seconds, one for each session that was hit."""
        return [stall for stall in self.stalls if stall.kind is kind]

    def gap_seconds(self, *, first: bool) -> list[float]:
        """The seconds of all gaps between two tokens, or of all gaps before a first token."""
        return [gap.seconds for gaps in self.gaps for gap in gaps if gap.first is first]

    def _stalls(self) -> Iterator[Stall]:
        for number, fault in enumerate(self.measured["faults"]):
            for client in fault["users"]:
                until = until_replaced(self._clients[client], fault)
                hit = [gap for gap in self.gaps[client] if gap.start < until and gap.end > fault["at"]]
                if hit:
                    gap = max(hit, key=lambda gap: gap.excess)
                    yield Stall(kind=FaultKind(fault["kind"]), client=client, fault=number, gap=gap)


def generations_of(
    client: int, events: Sequence[Event], prompt_tokens: Sequence[int], expected: Sequence[Sequence[int]]
) -> Iterator[Generation]:
    """Every generation of a client that ended."""
    task: Event = {}
    for event in events:
        if event["what"] == "begin":
            task = event
        elif event["what"] in ("done", "failed"):
            rows = event.get("tokens", [])
            new = task["tokens"] - max(prompt_tokens[prompt] for prompt in task["prompts"])
            pairs = [
                pair
                for prompt, row in zip(task["prompts"], rows, strict=False)
                for pair in zip(row, expected[prompt], strict=False)
            ]
            yield Generation(
                client=client,
                way=task["way"],
                compared=len(rows) * new,
                identical=sum(token == right for token, right in pairs),
                replayed=event["replayed"],
                replaced=event["replaced"],
                error=event.get("error"),
            )


def gaps_of(clients: Sequence[Sequence[Event]]) -> list[list[Gap]]:
    """The events of every client, in order."""
    calls = [list(calls_of(events)) for events in clients]
    firsts = [call[1] - call[0] for client in calls for call in client if len(call) > 1]
    usual_first = statistics.median(firsts) if firsts else 0.0
    return [[gap for call in client for gap in _gaps_of_call(call, usual_first)] for client in calls]


def calls_of(events: Iterable[Event]) -> Iterator[list[float]]:
    """For every generate() call, when it began and when its tokens came."""
    times: list[float] = []
    for event in events:
        if event["what"] in ("call", "done", "failed"):
            if times:
                yield times
            times = [event["at"]] if event["what"] == "call" else []
        elif event["what"] == "token":
            times.append(event["at"])


def _gaps_of_call(times: Sequence[float], usual_first: float) -> Iterator[Gap]:
    steps = [end - start for start, end in pairwise(times[1:])]
    usual = statistics.median(steps) if steps else usual_first
    for number, (start, end) in enumerate(pairwise(times)):
        first = number == 0
        yield Gap(start=start, end=end, first=first, usual=usual_first if first else usual)


def until_replaced(events: Iterable[Event], fault: Mapping[str, Any]) -> float:
    """When a fault no longer concerned a session that it hit."""
    over: float = math.inf if fault["until"] is None else fault["until"]
    for event in events:
        if event["what"] == "hops" and event["at"] > fault["at"] and fault["peer_id"] not in event["peers"]:
            return min(over, float(event["at"]))
    return over


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this `share` of all values doesn't exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def goals(figures: Figures) -> Iterator[Goal]:
    """The goals for stalls on this network. Failed generations and different tokens are judged apart."""
    on_loopback = figures.measured["network"] == LOOPBACK
    for kind, limit in STALL_GOAL_SECONDS.items():
        stalls = figures.stalls_of(kind)
        if not on_loopback or kind is not FaultKind.CUT:
            yield Goal(
                what=f"{kind.value}: stall, p99",
                limit=limit if on_loopback else LAB_STALL_GOAL_SECONDS,
                unit=" s",
                found=percentile([stall.gap.excess for stall in stalls], 0.99) if stalls else None,
            )
    drains = [stall.gap for stall in figures.stalls_of(FaultKind.DRAIN)]
    if on_loopback:
        shares = [gap.seconds / max(DRAIN_GOAL_STEPS * gap.usual, DRAIN_GOAL_SECONDS) for gap in drains]
        yield Goal(
            what="drained: longest gap, in the larger of 2 median steps and 250 ms",
            limit=1.0,
            unit="x",
            found=max(shares, default=None),
        )
    else:
        yield Goal(
            what="drained: stall, p99",
            limit=LAB_STALL_GOAL_SECONDS,
            unit=" s",
            found=percentile([gap.excess for gap in drains], 0.99) if drains else None,
        )


def summary(figures: Figures) -> dict[str, Any]:
    """The figures for a file."""
    return {
        "done": len(figures.done),
        "failed": [asdict(generation) for generation in figures.failed],
        "compared_tokens": figures.compared,
        "identical_tokens": figures.identical,
        "replayed_tokens": sum(generation.replayed for generation in figures.generations),
        "replaced_hops": sum(generation.replaced for generation in figures.generations),
        "ways": dict(Counter(generation.way for generation in figures.done)),
        "stalls": [
            {
                "kind": stall.kind.value,
                "client": stall.client,
                "fault": stall.fault,
                "gap_seconds": stall.gap.seconds,
                "excess_seconds": stall.gap.excess,
            }
            for stall in figures.stalls
        ],
        "goals": [asdict(goal) | {"met": goal.met} for goal in goals(figures)],
        "well": figures.well,
    }
