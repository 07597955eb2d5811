"""The ways of a swarm that has none but its members' own endpoints."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from p2pinfer.errors import SwarmError
from p2pinfer.types import Address, PeerId, Way


class OnlyEndpoints:
    """The ways to peers in a swarm without tunnels: any address may be dialled."""

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        return True

    def tunnel(self, address: Address) -> AbstractAsyncContextManager[str]:
        raise SwarmError("no tunnels in this swarm")

    def way_of_tunnel(self, peer_id: PeerId) -> Way:
        return Way.TUNNEL
