"""The DHT as a client sees it: records come late, outlive their servers, and sometimes can't be read."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from p2pinfer.errors import SwarmError, SwarmUnreachableError
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId
from tests.simulator.arithmetic import MODEL
from tests.simulator.clock import Clock

RECORD_SECONDS = 60.0
_SILENT_SECONDS = 3.0


@dataclass
class SimSwarm:
    """Records by server: every version, and the time from which readers see it."""

    clock: Clock
    random: random.Random
    away: bool = False
    position: Position = field(default_factory=Position)
    _records: dict[PeerId, list[tuple[float, Announcement]]] = field(default_factory=dict)

    def announce(self, announcement: Announcement) -> None:
        """Publish a record; readers see it a moment later."""
        seen_at = self.clock.now + self.random.uniform(0.02, 0.5)
        self._records.setdefault(announcement.peer_id, []).append((seen_at, announcement))

    async def servers(self, model: str) -> list[Announcement]:
        if self.away:
            await asyncio.sleep(_SILENT_SECONDS)
            raise SwarmUnreachableError("nobody answers")
        await asyncio.sleep(self.random.uniform(0.02, 0.3))
        return [record for record in self._seen() if model == MODEL]

    async def models(self) -> list[object]:
        return []

    @property
    def p2p(self) -> object:
        raise SwarmError("no tunnels in this swarm")

    def _seen(self) -> list[Announcement]:
        now, seen = self.clock.now, []
        for versions in self._records.values():
            visible = [record for seen_at, record in versions if seen_at <= now]
            newest = visible[-1] if visible else None
            if newest and newest.expires_at > self.clock.time() and newest.state is not ServerState.LEFT:
                seen.append(newest)
        return seen
