"""The figures and goals of bench_documents (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scripts.benchmarks.documents.bounds import Bounds, bounds_of
from scripts.benchmarks.documents.plan import (
    LLAMA_CPP,
    LLAMA_CPP_SHARED,
    LLAMA_GOAL,
    MEMORY_LIMIT_MEGABYTES,
    MOST_GROWTH,
    NETWORK,
    NETWORK_GOAL,
    REUSE_GOAL,
    START_GOAL_SECONDS,
    STATUS_GOAL_SECONDS,
    THREE_PEERS,
    WIRE_DTYPES,
    WITHOUT_REUSE,
)
from scripts.benchmarks.shared.report import Goal, Spread

Measured = Mapping[str, Any]
Runs = Sequence[Measured]


def rates(runs: Runs) -> list[float]:
    """Documents/s of each run."""
    return [run["documents"] / run["seconds"] for run in runs]


def ratio(runs: Mapping[str, Runs], one: str, other: str) -> Spread | None:
    """How many times as fast one contender is as the other, round by round; None if one had no turn."""
    if one not in runs or other not in runs:
        return None
    pairs = zip(rates(runs[one]), rates(runs[other]), strict=True)
    return Spread.of([first / second for first, second in pairs])


def equal_texts(runs: Mapping[str, Runs]) -> tuple[int, int]:
    """Texts that were made with and without reuse, and how many of them are equal."""
    pairs = [
        pair
        for one, two in zip(runs.get(THREE_PEERS, ()), runs.get(WITHOUT_REUSE, ()), strict=False)
        for pair in zip(one["texts"], two["texts"], strict=True)
    ]
    return len(pairs), sum(one == two for one, two in pairs)


def goals_of(measured: Measured) -> list[Goal]:
    """All goals of what was measured."""
    return [
        *(_of_speed(measured["speed"]) if "speed" in measured else ()),
        *(_of_network(measured) if measured.get(NETWORK) else ()),
        *(_of_kills(measured["kills"]) if "kills" in measured else ()),
        *(_of_memory(measured["memory"]) if "memory" in measured else ()),
    ]


def _of_speed(speed: Measured) -> Iterator[Goal]:
    runs = speed["runs"]
    for other, wanted in ((LLAMA_CPP, LLAMA_GOAL), (WITHOUT_REUSE, REUSE_GOAL)):
        if (found := ratio(runs, THREE_PEERS, other)) is not None:
            yield _times(f"documents/s, of those of {other} {found.range(2)}", wanted, found.median)
    compared, equal = equal_texts(runs)
    if compared:
        yield _all("texts with and without reuse that are equal", compared, equal)


def _of_network(measured: Measured) -> Iterator[Goal]:
    for dtype in WIRE_DTYPES:
        share = network_share(measured, dtype)
        yield _times(
            f"{NETWORK}, {dtype}: documents/s, of stage or uplink {share.range(2)}",
            NETWORK_GOAL,
            share.median,
        )


def network_bounds(measured: Measured, dtype: str) -> Bounds:
    """What the slowest stage, an uplink and the machine's cores allow, in documents/s: medians of rounds."""
    found = [bounds_of(run) for run in measured[NETWORK]["runs"][dtype]]
    return Bounds(
        stage=statistics.median(one.stage for one in found),
        uplink=statistics.median(one.uplink for one in found),
        cores=statistics.median(one.cores for one in found),
    )


def network_share(measured: Measured, dtype: str) -> Spread:
    """Documents/s in those that the slowest stage or an uplink allows, whichever is less, by rounds."""
    runs = measured[NETWORK]["runs"][dtype]
    return Spread.of([rate / bounds_of(run).goal for rate, run in zip(rates(runs), runs, strict=True)])


def _of_kills(kills: Measured) -> Iterator[Goal]:
    yield _all("documents that are in the output exactly once", kills["documents"], kills["once"])
    yield _all("texts as in an undisturbed run", kills["documents"], kills["equal"])
    yield _all("SIGKILLs that were dealt", kills["wanted"], sum(kills["dealt"].values()))


def _of_memory(memory: Measured) -> Iterator[Goal]:
    peaks = memory["peaks"]
    growth = peaks["1"] / peaks["0.1"]
    yield Goal(
        what="memory at the end of a job, in that at a tenth",
        wanted=f"<= {MOST_GROWTH:g}",
        found=f"{growth:.2f}",
        is_met=growth <= MOST_GROWTH,
    )
    for what, most, found, unit in (
        ("the runner's most resident memory", MEMORY_LIMIT_MEGABYTES, peaks["1"], "MB"),
        ("`status` while a job runs, slowest", STATUS_GOAL_SECONDS, max(memory["status_seconds"]), "s"),
        (
            f"{memory['long_input']} lines: until the first answer",
            START_GOAL_SECONDS,
            memory["start_seconds"],
            "s",
        ),
    ):
        yield Goal(what=what, wanted=f"<= {most:g} {unit}", found=f"{found:.1f} {unit}", is_met=found <= most)


def shared_note(speed: Measured) -> Spread | None:
    """The ratio to llama.cpp with the common prefix shared: reported, not promised."""
    return ratio(speed["runs"], THREE_PEERS, LLAMA_CPP_SHARED)


def _times(what: str, wanted: float, found: float) -> Goal:
    return Goal(what=what, wanted=f">= {wanted:g}", found=f"{found:.2f}", is_met=found >= wanted)


def _all(what: str, wanted: int, found: int) -> Goal:
    return Goal(what=what, wanted=str(wanted), found=str(found), is_met=wanted == found)
