"""What the search for a route knows of each server, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from p2pinfer.types import PeerId, Span

CLIENT = PeerId("")
"""Stands for the client in a link."""

LAST_RESORT_SECONDS = 10.0
"""The price of a doubted peer, of one that leaves soon or has no room, and of a broken link: more than any
detour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A server that could be a hop. All seconds are for one token."""

    peer_id: PeerId
    layers: Span
    numerics: str
    seconds_per_layer: float
    entry_seconds: float = 0.0
    """The price of coming here, beside the way: waiting steps, and the replay spread over tokens to come."""
    round_trip_seconds: float = 0.0
    """Between the client and this server."""
    next_hop_seconds: Mapping[PeerId, float] = field(default_factory=lambda: MappingProxyType({}))
    """Measured round trips from here to other servers."""
    free_tokens: int = 0
    """Room for new sessions: among nearly equal servers each is chosen in proportion to it."""
    held: bool = False
    """True if it has the session's caches already, of exactly these layers."""


@dataclass(frozen=True, slots=True)
class RouteHop:
    """One server and the layers that it runs in this route; `held` if it has the session already."""

    peer_id: PeerId
    layers: Span
    held: bool = False
