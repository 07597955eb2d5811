"""Which server is hit next, and how (pure)."""

from __future__ import annotations

import enum
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.lab import Direction

RESTART_SECONDS = 5.0
SILENT_SECONDS = 8.0
IN_USE_SHARE = 0.9
"""The probability that the choice is limited to servers in use."""


class FaultKind(enum.Enum):
    """What happens to a server."""

    KILL = "killed"  # SIGKILL, with all that it started; restarted after RESTART_SECONDS
    STOP = "stopped"  # SIGSTOP, and SIGCONT after SILENT_SECONDS
    CUT = "cut"  # its link, or one direction of it, for SILENT_SECONDS; in a lab only
    DRAIN = "drained"  # SIGTERM; restarted when it has left


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that was carried out. Times are of CLOCK_MONOTONIC."""

    kind: FaultKind
    server: int
    peer_id: str
    at: float
    users: list[int]  # the sessions whose route had the server at that time
    direction: Direction | None = None
    until: float | None = None  # when it was restarted, resumed, healed or gone; None: the fault lasts

    def as_json(self) -> dict[str, Any]:
        """The fault as the results file and the figures read it."""
        return {
            "kind": self.kind.value,
            "server": self.server,
            "peer_id": self.peer_id,
            "at": self.at,
            "until": self.until,
            "users": self.users,
            "direction": None if self.direction is None else self.direction.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """What the choice of a fault depends on."""

    stage: int
    serving: bool
    in_use: bool


@dataclass(slots=True)
class Dealer:
    """Chooses faults. Each kind occurs once in a round; a seed decides the order and the servers."""

    kinds: Collection[FaultKind]
    chance: random.Random
    _hand: list[FaultKind] = field(default_factory=list)

    def deal(self, servers: Sequence[ServerView]) -> tuple[FaultKind, int] | None:
        """Choose a kind and a server's number; None if every fault would empty a stage now."""
        targets = list(targets_of(servers))
        if not targets:
            return None
        used = [index for index in targets if servers[index].in_use]
        if used and self.chance.random() < IN_USE_SHARE:
            targets = used
        if not self._hand:
            self._hand = self.chance.sample(sorted(self.kinds, key=lambda kind: kind.value), len(self.kinds))
        return self._hand.pop(), self.chance.choice(targets)


def targets_of(servers: Sequence[ServerView]) -> Iterator[int]:
    """The serving servers in whose stage another server serves too."""
    for index, server in enumerate(servers):
        others = (other for place, other in enumerate(servers) if place != index)
        if server.serving and any(other.serving and other.stage == server.stage for other in others):
            yield index


def direction_of(chance: random.Random) -> Direction:
    """The direction of a cut: half of all cuts are one-way."""
    return chance.choice((Direction.BOTH, Direction.BOTH, Direction.UP, Direction.DOWN))
