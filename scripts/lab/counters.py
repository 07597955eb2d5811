"""What the router has counted, per host and direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.lab.errors import LabError


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionCounters:
    """Packets since the host was added. Bytes are those of IP packets, headers included."""

    packets: int = 0  # packets that passed this link
    bytes: int = 0
    lost: int = 0  # dropped by the link's loss
    overflowed: int = 0  # dropped because the queue before the link was full
    cut: int = 0  # dropped because the link was cut before or while they were on it
    unroutable: int = 0  # not for a host of the lab


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCounters:
    """The counters of both directions of one host's link."""

    up: DirectionCounters
    down: DirectionCounters


def parse_counters(lines: list[str], names: Mapping[int, str]) -> dict[str, HostCounters]:
    """Read the router's lines, `INDEX up|down NUMBERS`. Raises LabError for any other line."""
    found: dict[tuple[int, str], DirectionCounters] = {}
    for line in lines:
        try:
            index, direction, *numbers = line.split()
            packets, size, lost, overflowed, cut, unroutable = map(int, numbers)
            found[int(index), direction] = DirectionCounters(
                packets=packets, bytes=size, lost=lost, overflowed=overflowed, cut=cut, unroutable=unroutable
            )
        except ValueError as error:
            raise LabError(f"the router counted in a way that isn't understood: {line}") from error
    nothing = DirectionCounters()
    return {
        name: HostCounters(up=found.get((index, "up"), nothing), down=found.get((index, "down"), nothing))
        for index, name in names.items()
    }
