"""What relays and their clients need of the swarm, and the names of their protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import StreamHandler
from p2pinfer.types import PeerId

RELAY = "/p2pinfer/relay/1"
RELAYED = "/p2pinfer/relayed/1"
MEET = "/p2pinfer/meet/1"

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 12.0  # two beats may be late


class Streams(Protocol):
    """The part of `Swarm` that is used; it is documented there."""

    def sign(self, data: bytes) -> bytes: ...

    @property
    def peer_id(self) -> PeerId: ...

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream: ...

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None: ...

    async def remove_stream_handler(self, protocol: str) -> None: ...

    async def connections(self) -> Mapping[PeerId, tuple[str, ...]]: ...
