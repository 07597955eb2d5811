"""From which addresses peers are connected with this member, asked of p2pd only as often as needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from p2pinfer.swarm.reach.relay.streams import Streams
from p2pinfer.types import PeerId

_FRESH_SECONDS = 0.5  # one answer for all who ask within it: with many connections it is long


class Sightings:
    """What p2pd says of its connections. A peer that just connected is found at once."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._seen: Mapping[PeerId, tuple[str, ...]] = {}
        self._asked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def of(self, peer_id: PeerId) -> tuple[str, ...]:
        """The multiaddresses of the connections with a peer; none if there is none. Raises SwarmError."""
        clock = asyncio.get_running_loop().time
        came_at = clock()
        async with self._lock:  # who waits here finds an answer that is younger than their question
            fresh = clock() - self._asked_at < _FRESH_SECONDS and peer_id in self._seen
            if not fresh and self._asked_at < came_at:
                asked_at = clock()
                self._seen = await self._streams.connections()
                self._asked_at = asked_at
            return self._seen.get(peer_id, ())
