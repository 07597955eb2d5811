"""What was measured, how it is judged and printed. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from p2pinfer.types import Span
from scripts.benchmarks.shared.report import Goal

NUM_LAYERS = 30
LEAST_CPU_SECONDS = 101_000
"""A thousand times what a flood took when places went to those who came first, and identities were free."""
LEAST_KNOWN = 0.9
"""Of the others' records, where gossip alone brings them."""
MOST_SECONDS = 3.0
"""Until a newcomer has a route (median), and until a new server is seen (99 of 100)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A swarm that nobody attacks."""

    members: int
    bytes_per_node_hour: float  # sent and received, with all headers
    seen_after: list[float]  # seconds, for each new server

    def lines(self) -> Iterator[str]:
        """The table."""
        yield f"{'members':>8}{'MB/node/h':>11}{'new servers':>13}{'seen p50 s':>12}{'p99 s':>8}"
        yield (
            f"{self.members:>8}{self.bytes_per_node_hour / 1e6:>11.1f}{len(self.seen_after):>13}"
            f"{statistics.median(self.seen_after):>12.2f}{part_of(self.seen_after, 0.99):>8.2f}"
        )

    def goals(self) -> Iterator[Goal]:
        """What the figures have to be."""
        yield _soon("a new server is seen, p99", part_of(self.seen_after, 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What one newcomer found. `seconds` count from its start; infinity if its patience ended first."""

    seconds: float
    servers: int  # honest ones, in the last answer


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdVisit:
    """What one newcomer to a crowded swarm found."""

    seconds: float  # from its start to a whole route; infinity if its patience ended first
    neighbours_found: int
    neighbours: int  # servers in its city
    cells_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """A swarm with more servers than a cell has."""

    members: int
    split: int  # servers that make a cell crowded
    bytes_per_node_hour: float  # sent and received, with all headers
    homes: list[int]  # depths
    keys_of_server: list[int]
    records_of_node: list[int]
    visits: list[CrowdVisit]

    def lines(self) -> Iterator[str]:
        """The table."""
        yield (
            f"{'members':>8}{'cells of':>10}{'MB/node/h':>11}{'homes':>8}{'keys':>6}{'records of a node':>19}"
            f"{'newcomers':>11}{'with route':>12}{'median s':>10}{'neighbours':>12}{'cells read':>12}"
        )
        homes = f"{min(self.homes)}-{max(self.homes)}"
        found = f"{sum(one.neighbours_found for one in self.visits)} of {self._neighbours()}"
        yield (
            f"{self.members:>8}{self.split:>10}{self.bytes_per_node_hour / 1e6:>11.1f}{homes:>8}"
            f"{statistics.mean(self.keys_of_server):>6.1f}{statistics.mean(self.records_of_node):>19.1f}"
            f"{len(self.visits):>11}{_arrived(self.visits):>12}{in_words(_median(self.visits), ''):>10}"
            f"{found:>12}{statistics.mean(one.cells_read for one in self.visits):>12.1f}"
        )

    def goals(self) -> Iterator[Goal]:
        """What the figures have to be."""
        found = sum(one.neighbours_found for one in self.visits)
        yield _all_arrived("newcomers to cells with a whole route", self.visits)
        yield Goal(
            what="servers of their city that they see",
            wanted=f"{self._neighbours()}",
            found=f"{found}",
            is_met=found == self._neighbours(),
        )
        yield _soon("after, in the median", _median(self.visits))

    def _neighbours(self) -> int:
        return sum(one.neighbours for one in self.visits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gossip:
    """What members of one cell tell each other."""

    members: int
    is_hidden: bool  # strangers hide all keys of the cell
    megabytes: float  # an hour, sent and received, without the headers of connections
    known: float  # of the others' records, those that a member has, on average
    least_known: float  # those that the one with the fewest has

    def lines(self) -> Iterator[str]:
        """The table."""
        yield f"{'members':>8}{'keys':>9}{'MB/member/h':>13}{'known':>8}{'least':>8}"
        keys = "hidden" if self.is_hidden else "read"
        yield (f"{self.members:>8}{keys:>9}{self.megabytes:>13.1f}{self.known:>8.0%}{self.least_known:>8.0%}")

    def goals(self) -> Iterator[Goal]:
        """What the figures have to be."""
        if self.is_hidden:
            yield Goal(
                what=f"known of {self.members} whose keys are hidden",
                wanted=f">= {LEAST_KNOWN:.0%}",
                found=f"{self.known:.0%}",
                is_met=self.known >= LEAST_KNOWN,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Eclipse:
    """Newcomers among members that are nearer to the key than everybody honest."""

    members: int
    hostile: int
    identities_made: int  # until so many were near enough
    grinding_seconds: float  # of computing for all that were made, with their price
    servers: int  # honest ones, as many as a newcomer could see
    visits: list[Visit]

    def lines(self) -> Iterator[str]:
        """The table."""
        yield (
            f"{'members':>8}{'hostile':>9}{'made':>7}{'CPU s':>8}{'newcomers':>11}{'with route':>12}"
            f"{'servers seen':>14}{'median s':>10}"
        )
        seen = f"{statistics.median(visit.servers for visit in self.visits):g} of {self.servers}"
        yield (
            f"{self.members:>8}{self.hostile:>9}{self.identities_made:>7}{self.grinding_seconds:>8.0f}"
            f"{len(self.visits):>11}"
            f"{_arrived(self.visits):>12}{seen:>14}{in_words(_median(self.visits), ''):>10}"
        )

    def goals(self) -> Iterator[Goal]:
        """What the figures have to be."""
        yield _all_arrived("newcomers with a whole honest route", self.visits)
        yield _soon("after, in the median", _median(self.visits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Honest servers and clients while so many identities announce servers under the model's key."""

    identities: int
    cpu_seconds_each: float  # with the price
    sleeper_back: bool
    newcomer_in: bool
    kept: int  # honest servers whose records are at any honest node
    servers: int  # honest servers that announce themselves
    visits: list[Visit]

    @property
    def cpu_seconds_per_displaced(self) -> float:
        """What the attacker computes for each honest record that no honest node keeps; infinity if none."""
        displaced = self.servers - self.kept
        return self.identities * self.cpu_seconds_each / displaced if displaced else math.inf

    def lines(self) -> Iterator[str]:
        """The table."""
        yield (
            f"{'identities':>11}{'CPU s each':>12}{'sleeper':>9}{'new server':>12}"
            f"{'servers kept':>14}{'CPU s/displaced':>17}{'clients':>9}{'with route':>12}{'median s':>10}"
        )
        kept = f"{self.kept} of {self.servers}"
        yield (
            f"{self.identities:>11}{self.cpu_seconds_each:>12.2f}{_place(self.sleeper_back):>9}"
            f"{_place(self.newcomer_in):>12}{kept:>14}{in_words(self.cpu_seconds_per_displaced, ''):>17}"
            f"{len(self.visits):>9}{_arrived(self.visits):>12}{in_words(_median(self.visits), ''):>10}"
        )

    def goals(self) -> Iterator[Goal]:
        """What the figures have to be."""
        yield Goal(
            what="a server that slept is kept again",
            wanted="in",
            found=_place(self.sleeper_back),
            is_met=self.sleeper_back,
        )
        yield Goal(
            what="a new server is kept", wanted="in", found=_place(self.newcomer_in), is_met=self.newcomer_in
        )
        yield Goal(
            what="CPU s for each displaced record",
            wanted=f">= {LEAST_CPU_SECONDS:,}",
            found=in_words(self.cpu_seconds_per_displaced).replace("never", "none is displaced"),
            is_met=self.cpu_seconds_per_displaced >= LEAST_CPU_SECONDS,
        )
        yield _all_arrived("clients with a whole honest route", self.visits)
        yield _soon("after, in the median", _median(self.visits))


def is_whole(spans: Iterable[Span]) -> bool:
    """True if these layers together are the whole model."""
    return {layer for span in spans for layer in range(span.start, span.end)} >= set(range(NUM_LAYERS))


def part_of(values: Sequence[float], part: float) -> float:
    """The value that this part of all `values` doesn't exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def in_words(value: float, unit: str = " s") -> str:
    """A number with two decimals, or `never`."""
    return f"{value:.2f}{unit}" if math.isfinite(value) else "never"


def _arrived(visits: Sequence[Visit | CrowdVisit]) -> int:
    return sum(math.isfinite(visit.seconds) for visit in visits)


def _median(visits: Sequence[Visit | CrowdVisit]) -> float:
    return statistics.median(visit.seconds for visit in visits)


def _all_arrived(what: str, visits: Sequence[Visit | CrowdVisit]) -> Goal:
    arrived = _arrived(visits)
    return Goal(what=what, wanted=f"{len(visits)}", found=f"{arrived}", is_met=arrived == len(visits))


def _soon(what: str, seconds: float) -> Goal:
    return Goal(
        what=what,
        wanted=f"<= {MOST_SECONDS:g} s",
        found=in_words(seconds),
        is_met=seconds <= MOST_SECONDS,
    )


def _place(is_in: bool) -> str:
    return "in" if is_in else "out"
