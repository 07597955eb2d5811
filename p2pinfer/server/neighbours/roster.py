"""The records of one model, read at most once in a while, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.swarm import Swarm


class Roster:
    """Everything of a server that wants to know who else serves its model shares one. For the event loop.

    A reading costs the swarm up to 128 records of 4 KB. Who can do with older ones says so.
    """

    def __init__(self, swarm: Swarm, model: str) -> None:
        self._swarm = swarm
        self._model = model
        self._records: Sequence[Announcement] = ()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def servers(self, within_seconds: float) -> Sequence[Announcement]:
        """The model's servers, as they were read at most `within_seconds` ago; ours among them.

        Several that ask at the same time wait for one reading. Raises SwarmError if the swarm has to be read
        and can't be.
        """
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        async with self._reading:
            if self._read_at < asked_at - within_seconds:
                began_at = clock()
                self._records = await self._swarm.servers(self._model)
                self._read_at = began_at
            return self._records
