"""When a running server goes to other layers, and to which. Pure.

Each server decides for itself, at random times, from what it sees. It goes where it helps most, if servers
are spread unevenly, and if of all the layers that it would leave or take the weakest gains nearly all that it
can give. So every move makes the swarm better, and moves come to an end. What is near its end counts little:
layers whose last server announces that it leaves attract others before it has gone.

Two that see the same weakness say what they intend, and look again: one of them goes. It waits until the
other has given way: that one may have gone already, before it could see a rival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.server.placement.choice import Newcomer, Numbers, Rates, choose_span, with_server
from p2pinfer.server.placement.settling import rank_of
from p2pinfer.types import PeerId, Span

GAIN = 1.33
"""A server moves only if an even spread of all would make the weakest layer better by this factor. Found by
`scripts/simulate_fleet`: below it small swarms move often and hold fewer layers twice, above it weak layers
stay weak by day, when most cars have left."""

_FULL = 0.75
"""The part of its rate that a move has to add to the weakest layers that it concerns. Less comes of it where
those that the server leaves are nearly as weak."""

MOST_MOVES_PER_HOUR = 4

MOST_YIELDS = 3
"""So often in a row a server lets others go first. Who wants to move does so within seconds, or stays: one
that says it for ever, with a rank that it has searched for, would keep everybody where they are."""

LEAST_STAY_SECONDS = 600.0
"""A server that leaves sooner doesn't move any more: it would spend the rest of its stay on it."""

_SECONDS_PER_SERVER = 0.5
"""All servers of a model together look twice a second, so that one of them finds a gap soon."""
_SHORTEST_LOOK_SECONDS = 20.0
_LONGEST_LOOK_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """[layers] How many other servers hold each layer."""

    served: Numbers  # and serve it, and will when a move that begins now is over
    awaited: Numbers  # those, and the ones that have claimed it or are on their way there


@dataclass(frozen=True, slots=True, kw_only=True)
class Intention:
    """That a running server wants to go from its layers to others."""

    peer_id: PeerId
    model: str  # manifest hash
    origin: Span
    target: Span
    announced_at: float  # Unix seconds

    @property
    def rank(self) -> bytes:
        """The lowest is the best."""
        return rank_of(self.peer_id, self.model, self.announced_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a server should go, and what that is good for."""

    span: Span
    gaps: int  # layers without a server that get one
    weakest: float  # tokens per second of the weakest layer that the move concerns
    then: float  # of the weakest of them afterwards

    def __str__(self) -> str:
        if self.gaps:
            return f"{self.gaps} of them {'has' if self.gaps == 1 else 'have'} no other server"
        if not self.weakest:
            return "the weakest of them carry nothing now"
        return f"the weakest layers of those then carry {self.then / self.weakest:.2f} times as much"


def better_move(
    others: Rates, holders: Holders, layers: Span, server: Newcomer, *, gain: float = GAIN
) -> Move | None:
    """Return where a server that has `layers` should go; None: it stays.

    `others` [layers] are the rates without this server. `gain` is explained at GAIN.
    """
    before = with_server(others, layers, server.layer_rate)
    even = float(before.sum()) / len(before)
    if before.min() * gain > even and not _gaps(holders, layers):
        return None  # the usual case, and quickly seen
    span = choose_span(others, server)
    if not leaves_no_gap(holders, layers, span):
        return None
    after = with_server(others, span, server.layer_rate)
    changed = before != after
    if not changed.any():
        return None
    weakest, then = float(before[changed].min()), float(after[changed].min())
    gaps = _gaps(holders, layers) - _gaps(holders, span)
    added = server.layer_rate / len(span)
    is_worth_it = weakest * gain <= even and then - weakest >= _FULL * added
    return Move(span=span, gaps=max(gaps, 0), weakest=weakest, then=then) if gaps > 0 or is_worth_it else None


def leaves_no_gap(holders: Holders, layers: Span, span: Span) -> bool:
    """True if a server may go from `layers` to `span`.

    It leaves no layer that nobody else serves. Where layers lack a server already, it may if fewer do then.
    """
    left = [layer for layer in range(layers.start, layers.end) if layer not in span]
    return bool((holders.served[left] > 0).all()) or _gaps(holders, span) < _gaps(holders, layers)


def _gaps(holders: Holders, span: Span) -> int:
    """How many layers nobody will hold, if this server holds `span`."""
    lacking = holders.awaited == 0
    return int(lacking.sum() - lacking[span.start : span.end].sum())


def rivals_of(ours: Intention, others: Sequence[Intention]) -> list[Intention]:
    """Those that want to take, or to leave, some of the same layers."""
    return [
        other
        for other in others
        if _overlap(ours.target, other.target) or _overlap(ours.origin, other.origin)
    ]


def may_go(ours: Intention, others: Sequence[Intention]) -> bool:
    """True unless a rival has the better rank."""
    return all(ours.rank < rival.rank for rival in rivals_of(ours, others))


def may_move_again(moved_at: Sequence[float], now: float) -> bool:
    """True if a server that moved at these times (Unix seconds) hasn't moved too often within the hour."""
    return sum(at > now - 3600.0 for at in moved_at) < MOST_MOVES_PER_HOUR


def look_seconds(servers: int) -> float:
    """Seconds between two looks of a running server, on average, where a model has so many servers."""
    return min(_LONGEST_LOOK_SECONDS, max(_SHORTEST_LOOK_SECONDS, _SECONDS_PER_SERVER * servers))


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
