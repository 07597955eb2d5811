"""A swarm that is a list, for tests of one server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from p2pinfer.errors import SwarmError
from p2pinfer.fairness.merits import Merits
from p2pinfer.fairness.sources import Source
from p2pinfer.identity import Identity
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.reach.report import ReachReport, WayIn
from p2pinfer.swarm.reach.verdict import Verdict
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span
from tests.fakes import MODEL
from tests.swarm.only_endpoints import OnlyEndpoints


class NobodyTunnels(OnlyEndpoints):
    """The door is open to tunnels as well, and none comes."""

    @asynccontextmanager
    async def expose(self, unix_socket_path: str, merits: Merits) -> AsyncIterator[None]:
        yield

    def sources_of(self, name: str) -> tuple[Source, ...]:
        return ()


def nobody_looks() -> SimpleNamespace:
    return SimpleNamespace(verdict=Verdict(is_dialable=False), offer=lambda port: None)


@dataclass
class Board:
    """The announcing half of a swarm's interface: a list of what was announced."""

    identity: Identity = field(default_factory=Identity.ephemeral)
    addresses: tuple[str, ...] = ()
    private_folder: Path = Path()
    ways = NobodyTunnels()
    reaching: Any = field(default_factory=nobody_looks)
    announced: list[Announcement] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    rejoined: asyncio.Event = field(default_factory=asyncio.Event)
    position: Position = field(default_factory=Position)
    lost: bool = False

    @property
    def peer_id(self):
        return self.identity.peer_id

    async def announce(self, announcement: Announcement) -> Announcement:
        if self.lost:
            raise SwarmError("p2pd has ended")
        self.announced.append(announcement)
        self.news.set()
        return announcement

    async def withdraw(self, announcement: Announcement) -> None:
        await self.announce(replace(announcement, state=ServerState.LEFT, leaves_at=None))

    def reach(self) -> ReachReport:
        return ReachReport(way_in=WayIn.UNKNOWN)

    async def servers(self, model: str) -> list[Announcement]:
        return self.announced[-1:]

    async def has_twin(self) -> bool:
        return False

    async def wait_news(self) -> None:
        await self.rejoined.wait()
        self.rejoined.clear()

    async def add_stream_handler(self, protocol: str, handler: object) -> None:
        pass

    async def remove_stream_handler(self, protocol: str) -> None:
        pass

    @property
    def states(self) -> list[str]:
        return [announcement.state.name for announcement in self.announced]


def claim_of(board: Board) -> Announcement:
    return Announcement(
        peer_id=board.peer_id,
        model=MODEL,
        model_name="fake",
        num_layers=2,
        layers=Span(0, 2),
        state=ServerState.JOINING,
        numerics="pending",
        announced_at=time.time(),
        expires_at=time.time() + 60,
    )
