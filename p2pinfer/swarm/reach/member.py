"""What reaching others needs of the swarm."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import StreamHandler
from p2pinfer.types import PeerId


class Member(Protocol):
    """The part of `Swarm` that is used; it is documented there."""

    @property
    def peer_id(self) -> PeerId: ...

    def sign(self, data: bytes) -> bytes: ...

    @property
    def private_folder(self) -> Path: ...

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream: ...

    async def add_stream_handler(self, protocol: str, handler: StreamHandler) -> None: ...

    async def remove_stream_handler(self, protocol: str) -> None: ...

    async def connections(self) -> Mapping[PeerId, tuple[str, ...]]: ...

    async def connect(self, peer_id: PeerId, maddrs: Collection[str], seconds: float) -> None: ...

    async def disconnect(self, peer_id: PeerId) -> None: ...

    async def visible_maddrs(self) -> tuple[str, ...]: ...

    def acquaintances(self) -> Mapping[PeerId, tuple[str, ...]]: ...

    async def wait_rejoined(self) -> None: ...
