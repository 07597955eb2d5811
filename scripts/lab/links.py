"""Access links: the connection between one host and the others, and the named profiles.

A packet passes two of them, the sender's up and the receiver's down. Each contributes half of its delay, of
its jitter and of its loss, so that the numbers of a profile hold between two hosts of that profile.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

NANOSECONDS = 1_000_000_000


class Direction(enum.Enum):
    """A direction of a host's link: what the host sends, what it receives, or both."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One host's connection. Raises ValueError for values that no link can have.

    Between two hosts, the one-way delay is the mean of the two delays, and the chance that a packet arrives
    is the root of the product of the two chances: with two equal links, those are the link's own numbers.
    """

    delay_seconds: float
    up_bits_per_second: float
    down_bits_per_second: float
    jitter_seconds: float = 0.0  # earlier or later by at most this; keeps the order
    loss: float = 0.0  # the probability that a packet doesn't arrive

    def __post_init__(self) -> None:
        if not 0 <= self.jitter_seconds <= self.delay_seconds < math.inf:
            raise ValueError("a link's delay must be finite, and its jitter between 0 and the delay")
        for rate in (self.up_bits_per_second, self.down_bits_per_second):
            if not 0 < rate < math.inf:
                raise ValueError("a link's rates must be positive and finite")
        if not 0 <= self.loss <= 1:
            raise ValueError("a link's loss must be a probability")

    def in_router_words(self) -> str:
        """This host's half: `delay_ns jitter_ns up down loss`, see router_source/requests.hpp."""
        delay = round(self.delay_seconds / 2 * NANOSECONDS)
        jitter = min(delay, round(self.jitter_seconds / 2 * NANOSECONDS))
        loss = 1 - math.sqrt(1 - self.loss)
        return f"{delay} {jitter} {self.up_bits_per_second!r} {self.down_bits_per_second!r} {loss!r}"

    def describe(self) -> str:
        """For users: `20 ms, 20/200 Mbit/s`."""
        parts = [f"{1e3 * self.delay_seconds:g} ms"]
        if self.jitter_seconds:
            parts[0] += f" +-{1e3 * self.jitter_seconds:g}"
        parts.append(f"{self.up_bits_per_second / 1e6:g}/{self.down_bits_per_second / 1e6:g} Mbit/s")
        if self.loss:
            parts.append(f"{100 * self.loss:g} % loss")
        return ", ".join(parts)


def _link(milliseconds: float, up: float, down: float, jitter: float = 0.0, loss: float = 0.0) -> Link:
    return Link(
        delay_seconds=milliseconds / 1e3,
        up_bits_per_second=up * 1e6,
        down_bits_per_second=down * 1e6,
        jitter_seconds=jitter / 1e3,
        loss=loss,
    )


PROFILES: Mapping[str, Link] = MappingProxyType(
    {
        "lan": _link(0.1, 1000, 1000),
        "home-fibre": _link(10, 100, 500),
        "home-cable": _link(20, 20, 200),
        "satellite": _link(45, 10, 100, jitter=10, loss=0.005),
    }
)
