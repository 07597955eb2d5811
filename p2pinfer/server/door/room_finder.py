"""Finds room for sessions, where others have to give some up. `contention.py` decides who does."""

from __future__ import annotations

import asyncio

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Lack
from p2pinfer.server.door.admission import MAX_SESSIONS, RETRY_AFTER_SECONDS
from p2pinfer.server.sessions.contention import Concession, concede
from p2pinfer.server.sessions.lease import Lease, leased_tokens
from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.types import Span
from p2pinfer.wire.inference_pb2 import Terms
from p2pinfer.wire.status import Reason, Refused

_TRIES = 3
"""Somebody else may take what was found meanwhile."""

_LEAVING_SECONDS = 2.0
"""How long sessions that end for others have, until their memory is free."""

_AHEAD_TOKENS = 64
"""Of each row: who asks for room gets so much more than it needs now, if it is free."""


class RoomFinder:
    """For the event loop."""

    def __init__(self, sessions: SessionTable, runner: SessionRunner) -> None:
        self._sessions = sessions
        self._runner = runner

    async def for_opening(self, guest: Guest, terms: Terms) -> bool:
        """Make room for a session that was refused. False: it lacks none, or nobody has to give any up."""
        sessions = self._sessions
        layers = Span(terms.first_layer, terms.end_layer)
        tokens = -(-leased_tokens(terms) * len(layers) // sessions.num_layers)  # of the whole span
        places = concede(guest, 1, sessions.places(), MAX_SESSIONS)
        room = concede(guest, tokens * sessions.num_layers, sessions.holdings(), sessions.capacity)
        if isinstance(places, Lack) or isinstance(room, Lack) or places == room == Concession():
            return False
        await self._carry_out(places)
        await self._carry_out(room)
        return True

    async def for_lease(self, lease: Lease, tokens: int) -> int | Refused:
        """Find room for so many cache tokens of a session that needs more than it has now.

        Returns the tokens that it may take from now on, or why there are none.
        """
        sessions, layers = self._sessions, len(lease.layers)
        for _ in range(_TRIES):
            missing = tokens * layers - lease.layer_tokens
            if missing <= sessions.free_layer_tokens:
                ahead = _AHEAD_TOKENS * lease.contract.rows * layers
                most = lease.promised_layer_tokens - lease.layer_tokens
                sessions.grow(lease, max(0, min(missing + ahead, sessions.free_layer_tokens, most)))
                return lease.layer_tokens // layers
            room = concede(lease.guest, missing, sessions.holdings(), sessions.capacity)
            if isinstance(room, Lack):
                break
            await self._carry_out(room)
        return Refused(
            Reason.CACHE_FULL,
            "others wait for cache, and this session has its part: go on elsewhere, or with fewer rows",
            RETRY_AFTER_SECONDS,
        )

    async def _carry_out(self, concession: Concession) -> None:
        ending = [lease for lease in map(self._sessions.find, concession.end) if lease is not None]
        for lease in ending:
            detail = "others wait, and this session is idle or has more than its part: go on elsewhere"
            lease.end(Refused(Reason.CACHE_FULL, detail, RETRY_AFTER_SECONDS))
        cutting = [lease for lease in map(self._sessions.find, concession.cut) if lease is not None]
        await asyncio.gather(*map(self._cut, cutting))
        try:
            async with asyncio.timeout(_LEAVING_SECONDS):
                for lease in ending:
                    await lease.gone.wait()
        except TimeoutError:
            return

    async def _cut(self, lease: Lease) -> None:
        session = self._runner.find(lease.id)
        if session is None:
            return
        changes = lease.changes
        try:
            used = await session.limit_room()
        except (Refused, asyncio.CancelledError):
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return  # it has ended
        if lease.changes == changes:  # else it has asked for more meanwhile, and got it
            self._sessions.grow(lease, used * len(lease.layers) - lease.layer_tokens)
