"""From verified records to the servers that a reader shows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from p2pinfer.swarm.census.stretches import missing_spans
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.records.announcement import Announcement, ServerState, decode


def live(records: Collection[Record], now: float) -> list[Announcement]:
    """Those that haven't left, by their layers. `now` is in Unix seconds."""
    found = [decode(record.data) for record in records]
    there = [one for one in found if one.state is not ServerState.LEFT and one.expires_at > now]
    return sorted(there, key=lambda one: (one.layers, one.peer_id))


def is_whole(servers: Collection[Announcement]) -> bool:
    """True if each layer is served by somebody who agrees with most on how many there are."""
    if not servers:
        return False
    num_layers = Counter(server.num_layers for server in servers).most_common(1)[0][0]
    serving = (server.layers for server in servers if server.state is ServerState.SERVING)
    return not missing_spans(serving, num_layers)
