"""Which of the announced servers are still there: a server that is late with its announcement gets a ping.

So a server that vanished is gone from the page long before its record expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Sequence

from p2pinfer.errors import HopFailedError, RefusedError
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.tasks import all_of
from p2pinfer.types import PeerId
from p2pinfer.wire.dialling import Address

_PING_SECONDS = 3.0
_MOST_PINGS = 64  # at a time
_BELIEVED_SECONDS = 10.0
"""A server that has answered gets no other ping for this long."""

Ping = Callable[[Address], Awaitable[object]]
"""Raises HopFailedError or RefusedError if the server doesn't answer."""


class ServerPresence:
    """Remembers which servers answered, and when. For the event loop."""

    def __init__(self, *, late_seconds: float, now: Callable[[], float]) -> None:
        self._late_seconds = late_seconds
        self._now = now
        self._answered: dict[PeerId, float] = {}

    async def present(self, servers: Sequence[Announcement], ping: Ping) -> list[Announcement]:
        """The servers that announced themselves lately, or answer a ping."""
        late = [server for server in servers if self._is_late(server)]
        slots = asyncio.Semaphore(_MOST_PINGS)

        async def answers(server: Announcement) -> bool:
            address = Address(server.peer_id, server.endpoints, server.certificate)
            try:
                async with slots, asyncio.timeout(_PING_SECONDS):
                    await ping(address)
            except (HopFailedError, RefusedError, TimeoutError):
                return False
            self._answered[server.peer_id] = self._now()
            return True

        answered = await all_of(*(answers(server) for server in late))
        gone = {server.peer_id for server, is_there in zip(late, answered, strict=True) if not is_there}
        return [server for server in servers if server.peer_id not in gone]

    def forget_all_but(self, peers: Container[PeerId]) -> None:
        """Drop what is remembered of other servers."""
        self._answered = {peer: at for peer, at in self._answered.items() if peer in peers}

    def _is_late(self, server: Announcement) -> bool:
        """True if the server has endpoints for a ping, and its announcement is overdue."""
        now = self._now()
        return (
            bool(server.certificate)
            and now - server.announced_at > self._late_seconds
            and now - self._answered.get(server.peer_id, 0.0) > _BELIEVED_SECONDS
        )
