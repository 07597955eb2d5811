"""Turns what bench_join measured into figures, each with its goal (pure).

Bytes received are those of a host's downlink: IP packets with all headers, records of the swarm included. A
bound has the bytes of the files alone, so that headers, start and loading count against us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from scripts.benchmarks.join.plan import (
    DISK_GOAL,
    JOINERS,
    LINE_GOAL,
    PROFILE,
    RECEIVED_GOAL,
    SAME_GOAL,
    UPLINK_GOAL,
)
from scripts.benchmarks.shared.hosts import slowed
from scripts.benchmarks.shared.report import Spread
from scripts.lab import PROFILES, Link

Run = Mapping[str, Any]
Joiner = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A ratio, by rounds; its goal is a limit above it (`at_most`) or below it."""

    what: str
    found: Spread
    goal: float | None = None
    at_most: bool = False
    notes: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.found.median <= self.goal if self.at_most else self.found.median >= self.goal


def figures(measured: Mapping[str, Any]) -> Iterator[Figure]:
    """All figures, in the order of the table."""
    link = slowed(PROFILES[PROFILE], measured["slower"])
    for seeders, runs in measured["one"].items():
        yield from one(runs, int(seeders), link)
    if measured["same"]:
        yield from same(measured["same"], measured["one"]["1"])
    if measured["different"]:
        yield from different(measured["different"], link)
    if measured["client"]:
        yield from client(measured["client"])


def figures_as_json(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures with their verdicts, for a file."""
    return [asdict(figure) | {"met": figure.met} for figure in figures(measured)]


def one(runs: Sequence[Run], seeders: int, link: Link) -> Iterator[Figure]:
    """One joiner: what it received and keeps, and how much of the line it used."""
    rate = min(link.down_bits_per_second, seeders * link.up_bits_per_second)
    bound = runs[0]["joiners"][0]["needed_bytes"] * 8 / rate
    who = f"1 joiner, {seeders} seeder{'s' if seeders > 1 else ''}"
    yield from _bytes(who, runs)
    yield Figure(
        what=f"{who}: line used, start to ready",
        found=Spread.of([bound / _seconds(run) for run in runs]),
        goal=LINE_GOAL,
        notes=(
            f"bound: {bound:.1f} s, its files at {rate / 1e6:g} Mbit/s; {_phases(runs)}",
            _processors(runs),
        ),
    )
    yield Figure(
        what="  the same, first chunk to last",
        found=Spread.of([_late_bytes(run) * 8 / rate / _transfer_seconds(run) for run in runs]),
    )


def same(runs: Sequence[Run], alone: Sequence[Run]) -> Iterator[Figure]:
    """Joiners of one share: their time beside that of one, and what the seeder had to send."""
    who = f"{JOINERS} joiners, the same share"
    yield Figure(
        what=f"{who}: time, of one's",
        found=Spread.of([_seconds(run) / median(map(_seconds, alone)) for run in runs]),
        goal=SAME_GOAL,
        at_most=True,
        notes=(_phases(runs), _processors(runs)),
    )
    yield Figure(
        what="  the same, first chunk to last",
        found=Spread.of([_transfer_seconds(run) / median(map(_transfer_seconds, alone)) for run in runs]),
    )
    yield Figure(
        what=f"{who}: sent by the seeder, shares",
        found=Spread.of([run["seeder_up_bytes"] / run["joiners"][0]["needed_bytes"] for run in runs]),
    )
    note = "the line carries the acknowledgements of what a joiner gives to nine others, too"
    yield from _bytes(who, runs, is_judged=False, notes=(note,))


def different(runs: Sequence[Run], link: Link) -> Iterator[Figure]:
    """Joiners of all shares: how much of the seeder's uplink was used until the last was ready."""
    who = f"{JOINERS} joiners, different shares"
    yield Figure(
        what=f"{who}: uplink used",
        found=Spread.of([_uplink(run, link, _seconds(run)) for run in runs]),
        goal=UPLINK_GOAL,
        notes=(_phases(runs), _processors(runs)),
    )
    yield Figure(
        what="  the same, first chunk to last",
        found=Spread.of([_uplink(run, link, _transfer_seconds(run)) for run in runs]),
    )
    yield from _bytes(who, runs)


def client(runs: Sequence[Run]) -> Iterator[Figure]:
    """A client: only configs, tokenizer, ends and manifest."""
    files = runs[-1]["files"]
    layers = {name.rpartition("/")[2] for name in runs[-1]["layers"]}
    wrong = [name for name in files if name.rpartition("/")[2] in layers]
    listed = ", ".join(f"{name} {size:,}" for name, size in files.items())
    yield Figure(
        what="client: received, of what it needs",
        found=Spread.of([run["down_bytes"] / run["needed_bytes"] for run in runs]),
        goal=RECEIVED_GOAL,
        at_most=True,
        notes=(
            f"it needs {runs[0]['needed_bytes'] / 1e6:.1f} MB; "
            f"ready after {median(run['seconds'] for run in runs):.1f} s",
        ),
    )
    yield Figure(
        what="client: on disk, of what it needs",
        found=Spread.of([run["disk_bytes"] / run["needed_bytes"] for run in runs]),
        goal=DISK_GOAL,
        at_most=True,
        notes=(f"files: {listed}", f"layers among them: {', '.join(wrong) or 'none'}"),
    )


def _bytes(
    who: str, runs: Sequence[Run], *, is_judged: bool = True, notes: tuple[str, ...] = ()
) -> Iterator[Figure]:
    """Of the joiner that has most."""
    shares = median(joiner["needed_bytes"] for joiner in runs[0]["joiners"]) / 1e6
    yield Figure(
        what=f"{who}: received, of its share",
        found=Spread.of([_most(run, "down_bytes") for run in runs]),
        goal=RECEIVED_GOAL if is_judged else None,
        at_most=True,
        notes=(f"a share is {shares:.1f} MB",),
    )
    yield Figure(
        what="  the same, files alone",
        found=Spread.of([_most(run, "payload_bytes") for run in runs]),
        goal=RECEIVED_GOAL,
        at_most=True,
        notes=notes,
    )
    yield Figure(
        what=f"{who}: on disk, of its share",
        found=Spread.of([_most(run, "disk_bytes") for run in runs]),
        goal=DISK_GOAL,
        at_most=True,
    )


def _most(run: Run, what: str) -> float:
    return float(max(joiner[what] / joiner["needed_bytes"] for joiner in run["joiners"]))


def _seconds(run: Run) -> float:
    """From the first process's start until the last is ready."""
    joiners = run["joiners"]
    return float(max(_all(joiners, "ready")) - min(_all(joiners, "started")))


def _transfer_seconds(run: Run) -> float:
    """From the first chunk that anybody gets until everybody has everything."""
    joiners = run["joiners"]
    return float(max(_all(joiners, "fetched")) - min(_all(joiners, "first_chunk")))


def _late_bytes(run: Run) -> int:
    """What one joiner still needed when it was seen to have got its first chunk."""
    (joiner,) = run["joiners"]
    return int(joiner["needed_bytes"] - joiner["first_bytes"])


def _uplink(run: Run, link: Link, seconds: float) -> float:
    return float(run["seeder_up_bytes"]) * 8 / link.up_bits_per_second / seconds


def _phases(runs: Sequence[Run]) -> str:
    """How long start, transfer and loading took, each until the last joiner was through."""
    parts: tuple[tuple[str, Callable[[Run], float]], ...] = (
        ("until the first chunk", lambda run: min(_all(run["joiners"], "first_chunk"))),
        ("until all have begun", lambda run: max(_all(run["joiners"], "first_chunk"))),
        ("until all is fetched", lambda run: max(_all(run["joiners"], "fetched"))),
        ("until all are ready", _seconds),
    )
    if len(runs[0]["joiners"]) == 1:
        parts = (parts[0], *parts[2:])
    return ", ".join(f"{median(map(seconds, runs)):.1f} s {words}" for words, seconds in parts)


def _processors(runs: Sequence[Run]) -> str:
    """How busy the machine was while files came, and what the lab itself took of it."""
    busy, router = [], []
    for run in runs:
        begin = min(_all(run["joiners"], "first_chunk"))
        end = max(_all(run["joiners"], "fetched"))
        inside = [point for point in run["timeline"] if begin <= point["at"] <= end]
        if len(inside) >= 2:
            seconds = inside[-1]["at"] - inside[0]["at"]
            busy.append((inside[-1]["busy_seconds"] - inside[0]["busy_seconds"]) / seconds)
            router.append((inside[-1]["router_seconds"] - inside[0]["router_seconds"]) / seconds)
    own = median(sum(_all(run["joiners"], "cpu_seconds")) / len(run["joiners"]) for run in runs)
    words = f"processor time: {own:.1f} s per joiner"
    if busy:
        words += f"; while files came {median(busy):.1f} cores were busy"
        words += f", {median(router):.1f} of them with the lab's router"
    return words


def _all(joiners: Sequence[Joiner], what: str) -> list[float]:
    return [joiner[what] for joiner in joiners]
