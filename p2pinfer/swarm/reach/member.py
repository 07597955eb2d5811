"""What reaching others needs of the swarm."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from p2pinfer.swarm.reach.relay.streams import Streams
from p2pinfer.types import PeerId


class Member(Streams, Protocol):
    """What relays need, and more. It is a part of `Swarm`, where it is documented."""

    @property
    def private_folder(self) -> Path: ...

    async def connect(self, peer_id: PeerId, maddrs: Collection[str], seconds: float) -> None: ...

    async def disconnect(self, peer_id: PeerId) -> None: ...

    async def visible_maddrs(self) -> tuple[str, ...]: ...

    def acquaintances(self) -> Mapping[PeerId, tuple[str, ...]]: ...

    async def wait_rejoined(self) -> None: ...
