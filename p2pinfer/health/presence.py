"""Which of the announced servers are there: those that have answered a ping.

A record costs little, so a server counts from its first answer on. One that is late with its announcement is
pinged again: so a server that vanished is gone from the page long before its record expires. A ping also
finds out how a server is reached; one behind a router is relayed at first, and asked a second time. Anybody
can announce servers that never answer, so a reading spends a bounded time on pings, and a silent server gets
few of them.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence

from p2pinfer.client.reach.pong import Pong
from p2pinfer.errors import P2PInferError, RefusedError
from p2pinfer.health.faults import Faults
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.types import Address, PeerId, Way, short_id

_PING_SECONDS = 3.0
_PINGS_SECONDS = 8.0
"""For all pings of one call. A server whose turn doesn't come is shown as it was before."""

_MOST_PINGS = 64  # at a time
_BELIEVED_SECONDS = 600.0
"""A server that has answered gets no other ping for this long, while it announces itself in time."""
_LATE_BELIEVED_SECONDS = 10.0
"""The same for one that doesn't."""

_SECOND_LOOK_SECONDS = 30.0
"""The same for one that was relayed for the first time: a hole may have been punched since."""

_SILENT_SECONDS = 60.0
"""A server that hasn't answered gets no other ping for this long, unless it announces itself again."""

Ping = Callable[[Address], Awaitable[object]]
"""Raises HopFailedError without an answer, RefusedError if the server is busy. Strangers say the address."""


class ServerPresence:
    """Remembers which servers answered, and when. For the event loop."""

    def __init__(self, *, late_seconds: float, now: Callable[[], float], faults: Faults) -> None:
        self._late_seconds = late_seconds
        self._faults = faults
        self._now = now
        self._answered: dict[PeerId, float] = {}
        self._silent: dict[PeerId, tuple[float, float]] = {}  # the announcement's time, and the ping's
        self._ways: dict[PeerId, Way] = {}
        self._second_looks: set[PeerId] = set()

    async def present(self, servers: Sequence[Announcement], ping: Ping) -> list[Announcement]:
        """The servers that have answered, now or not long ago. One server never fails the call."""
        slots = asyncio.Semaphore(_MOST_PINGS)
        doubtful = [server for server in servers if self._is_doubtful(server)]
        asked = [server for server in doubtful if not self._is_known_silent(server)]
        random.shuffle(asked)  # so that a flood of others keeps nobody waiting for ever
        asking = [asyncio.create_task(self._ask(server, ping, slots)) for server in asked]
        if asking:
            try:
                await asyncio.wait(asking, timeout=_PINGS_SECONDS)
            finally:
                await cancel_and_wait(*asking)
        return [server for server in servers if self._counts(server.peer_id)]

    @property
    def ways(self) -> Mapping[PeerId, Way]:
        """How servers were reached the last time that they answered, as far as is known."""
        return self._ways

    def forget_all_but(self, peers: Container[PeerId]) -> None:
        """Drop what is remembered of servers that aren't announced any more."""
        self._answered = {peer: at for peer, at in self._answered.items() if peer in peers}
        self._silent = {peer: at for peer, at in self._silent.items() if peer in peers}
        self._ways = {peer: way for peer, way in self._ways.items() if peer in peers}
        self._second_looks = {peer for peer in self._second_looks if peer in peers}

    async def _ask(self, server: Announcement, ping: Ping, slots: asyncio.Semaphore) -> None:
        """Ping the server, and remember the result."""
        peer_id = server.peer_id
        async with slots:
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    answer = await ping(server.address)
            except RefusedError:
                self._note_answer(peer_id)  # it is busy, as one that loads its layers says
                return
            except (P2PInferError, TimeoutError):
                pass
            except Exception as error:  # noqa: BLE001 - one server's bytes must not end the page
                self._faults.note(f"server {short_id(peer_id)} can't be pinged and counts as gone", error)
            else:
                self._note_answer(peer_id, answer.way if isinstance(answer, Pong) else None)
                return
        self._silent[peer_id] = (server.announced_at, self._now())

    def _note_answer(self, peer_id: PeerId, way: Way | None = None) -> None:
        self._second_looks.discard(peer_id)
        if way is not None:
            if way is Way.RELAYED and self._ways.get(peer_id) is not Way.RELAYED:
                self._second_looks.add(peer_id)
            self._ways[peer_id] = way
        self._answered[peer_id] = self._now()
        self._silent.pop(peer_id, None)

    def _counts(self, peer_id: PeerId) -> bool:
        return peer_id in self._answered and peer_id not in self._silent

    def _is_known_silent(self, server: Announcement) -> bool:
        announced_at, asked_at = self._silent.get(server.peer_id, (0.0, 0.0))
        return announced_at == server.announced_at and self._now() - asked_at <= _SILENT_SECONDS

    def _is_doubtful(self, server: Announcement) -> bool:
        """True if it hasn't answered yet, or not for too long."""
        now = self._now()
        is_late = now - server.announced_at > self._late_seconds
        believed_seconds = _LATE_BELIEVED_SECONDS if is_late else _BELIEVED_SECONDS
        if server.peer_id in self._second_looks:
            believed_seconds = min(believed_seconds, _SECOND_LOOK_SECONDS)
        return now - self._answered.get(server.peer_id, -math.inf) > believed_seconds
