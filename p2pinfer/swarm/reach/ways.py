"""The ways from this member to others."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from p2pinfer.swarm.reach.permission import Permission
from p2pinfer.swarm.tunnel import Streams, dial
from p2pinfer.types import Address, PeerId, Way


class Ways:
    """What `wire.dialling.Ways` asks for, on the swarm's streams."""

    def __init__(self, streams: Streams, permission: Permission) -> None:
        self._streams = streams
        self._permission = permission

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        """True if this host, an IP address without brackets, is the peer's to give."""
        return self._permission.may_dial(peer_id, host)

    def tunnel(self, address: Address) -> AbstractAsyncContextManager[str]:
        """Yield the path of a local Unix socket that leads to the peer's service, until the block ends."""
        return dial(self._streams, address.peer_id)

    def way_of_tunnel(self, peer_id: PeerId) -> Way:
        """How what a tunnel carries reaches this peer now."""
        return Way.TUNNEL
