"""Which of several models a server takes that was started without a name: the one the swarm needs most. Pure.

Everything that is known about a model comes from strangers, and to list one costs little. So a model counts
as *established* only if this machine knows it already (its files are here, or it was served before), or if
its servers are at two places that don't look like one: two networks, or servers that only tunnels lead to.
A model that one stranger lists is taken only where there is nothing else, as in a swarm that was just
founded. That is no proof: somebody with two machines can establish a model. What claims may gain is bounded
below, and an owner who names the model isn't moved at all.

Among established models the order is

1. a model with a gap that can be closed: layers that no server holds, but at most as many as this machine can
   take, or at most half of the model. Nobody can use it until somebody comes. The smaller gap goes first;
2. a model without gaps, by its need: how much work waits for each server of its weakest layer. A server
   without free cache counts half there, as it can take no new session. Queues are the servers' own claims:
   more than eight waiting steps of a server say no more than eight. A model whose files are here counts
   double: it costs nobody a download, and equal models don't swap their servers at each restart;
3. a model with a larger gap: a few servers of a model that nobody completes.

Equals are told apart by a hash over model and peer, so that not all newcomers take the same.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.swarm.census.stretches import missing_spans, sweep
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId, Span

_MOST_WAITING = 8.0
_LEAST_FREE_TOKENS = 256
"""Less free cache takes no new session worth the name."""

_LIVE = (ServerState.JOINING, ServerState.SERVING)  # those that drain leave a place to fill
_IPV4_NETWORK_BITS, _IPV6_NETWORK_BITS = 24, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that could be served."""

    listing: ModelListing
    servers: Sequence[Announcement]  # as they announce themselves; without ours
    has_files: bool = False  # this machine has files of it
    is_known: bool = False  # this machine remembers its hash

    @property
    def live(self) -> list[Announcement]:
        """The servers that stay."""
        return [server for server in self.servers if server.state in _LIVE]

    @property
    def missing(self) -> tuple[Span, ...]:
        """The layers that no server holds."""
        return missing_spans((server.layers for server in self.live), self.listing.num_layers)


def most_needed(
    candidates: Sequence[Candidate], us: PeerId, *, room_layers: int | None = None
) -> list[Candidate]:
    """The candidates, the one that the swarm needs most first. The result doesn't depend on their order.

    `us` is this server's peer id. `room_layers` is how many layers it can take, if that is known.
    """
    return sorted(candidates, key=lambda candidate: _rank(candidate, us, room_layers))


def need(candidate: Candidate) -> float:
    """How much work waits for each server of the weakest layer; infinite if a layer has none.

    1.0 is one server that nobody waits for.
    """
    live = candidate.live
    holders = [(server.layers, 1.0 if _has_room(server) else 0.5) for server in live]
    weakest = min((stretch.rate for stretch in sweep(holders, candidate.listing.num_layers)), default=0.0)
    if weakest <= 0.0:
        return float("inf")
    waiting = sum(min(_MOST_WAITING, server.queue_depth) for server in live) / len(live)
    return (1.0 + waiting) / weakest * (2.0 if candidate.has_files else 1.0)


def is_established(candidate: Candidate) -> bool:
    """True if more than one stranger stands for the model."""
    if candidate.has_files or candidate.is_known:
        return True
    return len({_place(server) for server in candidate.live}) > 1


def _rank(candidate: Candidate, us: PeerId, room_layers: int | None) -> tuple[bool, int, float, bool, str]:
    gap, total = sum(map(len, candidate.missing)), candidate.listing.num_layers
    if gap:
        closable = bool(candidate.live) and gap <= max(room_layers or 0, total // 2)
        group, order = (0 if closable else 2), float(gap)
    else:
        group, order = 1, -need(candidate)
    lot = hashlib.sha256(f"{us} {candidate.listing.model}".encode()).hexdigest()
    return (not is_established(candidate), group, order, not candidate.has_files, lot)


def _has_room(server: Announcement) -> bool:
    return server.free_cache_tokens >= _LEAST_FREE_TOKENS


def _place(server: Announcement) -> str:
    """Where a server is: the network of its first address, or itself if only a tunnel leads to it."""
    if not server.endpoints:
        return server.peer_id
    host = server.endpoints[0].rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ".".join(host.lower().split(".")[-2:])  # a name: of one owner, as far as names tell
    bits = _IPV4_NETWORK_BITS if address.version == 4 else _IPV6_NETWORK_BITS
    return str(ipaddress.ip_network((address, bits), strict=False))
