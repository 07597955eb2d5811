"""How servers that join at the same time spread out, each for itself. Pure.

All of them claim layers before they know of each other. Then each looks at the claims, and goes through them
from the worst rank to the best: a claim that would help more elsewhere, all others given, moves there. So of
six servers that claim the same gap, five move, and to different places, because each of them knows where the
others of worse rank move. The best stays where it is.

Those who see the same records come to the same result. Those who don't, see the others' new claims when they
look again.

Ranks are hashes, and change every day: nobody has to give way always.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.server.placement.choice import (
    Newcomer,
    Rates,
    Sizes,
    choose_span,
    is_better,
    with_server,
)
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId, Span

MOST_RIVALS = 128
"""Claims that are looked at. With more, those of best rank count as they are announced."""

MOST_LOOKS = 3
LOOK_SECONDS = 0.7
"""Between two looks, on average: longer than a record takes to spread, three times bearable at a start."""

_EPOCH_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Layers that a server wants, and may still change."""

    peer_id: PeerId
    model: str
    layers: Span
    layer_rate: float  # layer-tokens per second
    announced_at: float  # Unix seconds

    @property
    def rank(self) -> bytes:
        """The lowest is the best."""
        return rank_of(self.peer_id, self.model, self.announced_at)


def rank_of(peer_id: PeerId, model: str, at: float) -> bytes:
    """A server's rank on the day of `at` (Unix seconds); the lowest is the best."""
    epoch = int(at // _EPOCH_SECONDS)
    return hashlib.sha256(f"{peer_id} {model} {epoch}".encode()).digest()


def may_move(record: Announcement) -> bool:
    """True for a claim that its server may still change."""
    return record.state is ServerState.JOINING and record.is_undecided


def settled(rates: Rates, claims: Sequence[Claim], ours: Claim, newcomer: Newcomer) -> Span:
    """Return the layers for our claim; often those that it has.

    `rates` are those of the servers that stay where they are. `claims` are the others that may still move.
    """
    ranked = sorted([*claims, ours], key=lambda claim: claim.rank, reverse=True)
    together = rates
    for claim in ranked:
        together = with_server(together, claim.layers, claim.layer_rate)
    before = ranked.index(ours)
    for claim in ranked[max(0, before - MOST_RIVALS) : before]:
        span = _best(together, claim, _as_newcomer(claim))
        together = _moved(together, claim, span)
    return _best(together, ours, newcomer)


def _best(together: Rates, claim: Claim, mover: Newcomer) -> Span:
    """Where a claim helps most, all others given: where it is, unless another place is better."""
    others = with_server(together, claim.layers, -claim.layer_rate)
    span = choose_span(others, mover)
    moved = with_server(others, span, claim.layer_rate)
    return span if is_better(moved, with_server(others, claim.layers, claim.layer_rate)) else claim.layers


def _moved(together: Rates, claim: Claim, span: Span) -> Rates:
    if span == claim.layers:
        return together
    without = with_server(together, claim.layers, -claim.layer_rate)
    return with_server(without, span, claim.layer_rate)


def _as_newcomer(claim: Claim) -> Newcomer:
    """Another server as it would choose, as far as we know: as many layers as it claims."""
    return Newcomer(
        peer_id=claim.peer_id,
        model=claim.model,
        sizes=Sizes.exactly(len(claim.layers)),
        layer_rate=claim.layer_rate,
    )


class Looks:
    """When a server has looked often enough at what others claim, and may fetch its layers."""

    def __init__(self) -> None:
        self._done = 0
        self._before: frozenset[tuple[PeerId, Span]] | None = None

    def are_enough(self, claims: Sequence[Claim], *, moved: bool, waiting: bool = False) -> bool:
        """Count a look, which found these claims of others that may still move.

        `moved`: our claim has changed. `waiting`: a server that was asked may still answer.
        """
        self._done += 1
        found = frozenset((claim.peer_id, claim.layers) for claim in claims)
        is_quiet = not moved and not waiting and (not found or found == self._before)
        self._before = found
        return is_quiet or self._done >= MOST_LOOKS
