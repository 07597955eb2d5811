"""What a model's servers can do, layer by layer, and where another one is wanted. Pure: records in.

The unit is tokens per second at a layer. A server that takes s seconds for a token in a layer and holds n
layers carries 1 / (n s) tokens per second through each of them, if it spends its time on them evenly. Batches
make the real number higher, for all servers alike.

Numerics classes are counted apart: a text never goes from one to the other.

There are two ways to count. `claimed_now` takes what servers that serve say of themselves: what a client
finds now. `expected` is for those who decide where to help: servers that are still loading count too, each
server counts the less the sooner it leaves, and one without a measured speed counts as a typical one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from p2pinfer.swarm.census.stretches import HeldStretch, sweep
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span

FASTEST_SECONDS = 1e-6
"""Per layer and token. No machine is as fast; such a claim would spoil every estimate."""
SLOWEST_SECONDS = 3600.0
STAY_SECONDS = 3600.0
"""A server that stays for an hour or more counts in full, one that leaves sooner in proportion.

Many sessions end within an hour, and the next server comes within one: later departures can be answered when
they are near.
"""

_UNMEASURED_SECONDS = 0.001
"""The speed of a typical server where none is known. Only ratios matter then."""
_MOST_TIMES_TYPICAL = 32.0
"""A speed that is claimed counts up to so many typical ones: a boast keeps nobody away from many layers."""
_NEAR = 1.05
"""Rates that differ less than speeds are measured to are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """What the servers of one numerics class can do for one model."""

    stretches: tuple[HeldStretch, ...]  # all layers, in order; their rates in tokens per second

    @property
    def gaps(self) -> tuple[Span, ...]:
        """The layers that no server holds, as the fewest spans."""
        return tuple(stretch.layers for stretch in self.stretches if not stretch.servers)

    @property
    def fewest_servers(self) -> int:
        """How many servers hold the layer that fewest hold."""
        return min((stretch.servers for stretch in self.stretches), default=0)

    @property
    def tokens_per_second(self) -> float:
        """What all layers together let through: the rate of the weakest."""
        return max(0.0, min((stretch.rate for stretch in self.stretches), default=0.0))

    @property
    def wanted(self) -> tuple[HeldStretch, ...]:
        """Where another server helps most: the gaps, or else the weakest layers."""
        if not self.fewest_servers:
            return tuple(stretch for stretch in self.stretches if not stretch.servers)
        limit = self.tokens_per_second * _NEAR
        return tuple(stretch for stretch in self.stretches if stretch.rate <= limit)


def seconds_per_layer(record: Announcement) -> float | None:
    """What a token without a context takes in a layer, as the server says; None: unknown or not plausible."""
    seconds = record.decode.first
    return seconds if FASTEST_SECONDS <= seconds <= SLOWEST_SECONDS else None


def claimed_now(records: Iterable[Announcement], num_layers: int) -> dict[str, Strength]:
    """By numerics class, what the servers that serve claim. One without a speed counts, but adds no rate."""
    parts: dict[str, list[tuple[Span, float]]] = {}
    for record in records:
        if record.state is ServerState.SERVING:
            seconds = seconds_per_layer(record)
            rate = 1.0 / (len(record.layers) * seconds) if seconds else 0.0
            parts.setdefault(record.numerics, []).append((record.layers, rate))
    return {numerics: Strength(stretches=tuple(sweep(held, num_layers))) for numerics, held in parts.items()}


def classes(records: Iterable[Announcement]) -> dict[str, list[Announcement]]:
    """The records by numerics class."""
    found: dict[str, list[Announcement]] = {}
    for record in records:
        found.setdefault(record.numerics, []).append(record)
    return found


def typical_seconds(records: Iterable[Announcement]) -> float:
    """Seconds per layer of the server in the middle. The median: a liar moves it little."""
    known = [seconds for record in records if (seconds := seconds_per_layer(record)) is not None]
    return statistics.median_low(known) if known else _UNMEASURED_SECONDS


def expected_stay(leaves_at: float | None, now: float) -> float:
    """How much a server counts that leaves at this time (Unix seconds): 1.0 for STAY_SECONDS and more."""
    return 1.0 if leaves_at is None else max(0.0, min(1.0, (leaves_at - now) / STAY_SECONDS))


def layer_rate(record: Announcement, typical: float, now: float) -> float:
    """Layer-tokens per second, weighted with the stay. Divide by its layers for the rate at each.

    A server that drains takes no new sessions, and counts for the rest of its stay only: if it doesn't say
    how long that is, not at all. One that drains in order to move stays.
    """
    if record.state is ServerState.LEFT:
        return 0.0
    stay = expected_stay(record.leaves_at, now)
    if record.state is ServerState.DRAINING:
        stay = 1.0 if is_moving(record) else 0.0 if record.leaves_at is None else stay
    return stay / max(seconds_per_layer(record) or typical, typical / _MOST_TIMES_TYPICAL)


def destination(record: Announcement) -> Span:
    """The layers that a server will have: where it goes, once that is decided."""
    return record.moves_to if is_moving(record) and record.moves_to else record.layers


def is_moving(record: Announcement) -> bool:
    """True if a server has decided to go to other layers."""
    return record.moves_to is not None and not record.is_undecided


def everybody(record: Announcement) -> float:
    """Every record counts in full."""
    return 1.0


def expected(
    records: Sequence[Announcement],
    num_layers: int,
    now: float,
    credit: Callable[[Announcement], float] = everybody,
) -> Strength:
    """What these servers of one class will do when those that load are ready, and those that move are there.

    `credit` says how much a record counts, from 0 to 1. A server that counts nothing holds nothing.
    """
    counted = [(record, credit(record)) for record in records]
    typical = typical_seconds(record for record, counts in counted if counts > 0.0)
    parts = [
        (layers, rate / len(layers))
        for record, counts in counted
        if (layers := destination(record)) and (rate := layer_rate(record, typical, now) * counts) > 0.0
    ]
    return Strength(stretches=tuple(sweep(parts, num_layers)))


def strongest(strengths: Mapping[str, Strength]) -> Strength | None:
    """The class that a newcomer most probably strengthens: that which does most, or holds most."""

    def rank(item: tuple[str, Strength]) -> tuple[float, int, str]:
        numerics, strength = item
        held = sum(len(stretch.layers) * stretch.servers for stretch in strength.stretches)
        return strength.tokens_per_second, held, numerics

    return max(strengths.items(), key=rank)[1] if strengths else None
