"""Which models of a swarm can answer now. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.swarm.census.stretches import missing_spans
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing


def whole_models(found: Sequence[tuple[ModelListing, Sequence[Announcement]]]) -> list[ModelListing]:
    """The models of which every layer is served, those with most servers first."""
    whole = []
    for listing, servers in found:
        serving = [server for server in servers if server.state is ServerState.SERVING]
        if not missing_spans((server.layers for server in serving), listing.num_layers):
            whole.append((len(serving), listing))
    return [listing for _, listing in sorted(whole, key=lambda one: (-one[0], one[1].model))]
