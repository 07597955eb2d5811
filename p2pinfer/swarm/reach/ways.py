"""The ways from this member to others."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from p2pinfer.swarm.tunnel.dialler import Dialler
from p2pinfer.swarm.tunnel.streams import PROTOCOL, OpenedStream, Streams
from p2pinfer.types import Address, PeerId, Way


class Ways:
    """What `wire.dialling.Ways` asks for, on the swarm's streams."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._dialler = Dialler(self._open_stream, streams.private_folder)

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        """True if this host is the peer's to give."""
        return True

    def tunnel(self, address: Address) -> AbstractAsyncContextManager[str]:
        """Yield the path of a local Unix socket that leads to the peer's service, until the block ends."""
        return self._dialler.dial(address)

    def way_of_tunnel(self, peer_id: PeerId) -> Way:
        """How what a tunnel carries reaches this peer now."""
        return self._dialler.way_to(peer_id) or Way.TUNNEL

    async def _open_stream(self, address: Address) -> OpenedStream:
        reader, writer = await self._streams.open_stream(address.peer_id, PROTOCOL)
        return OpenedStream(reader, writer, Way.TUNNEL)
