"""What a client has lived through with servers: how far away they are, who failed, and how fast they were.

A server that starts anew has a new certificate, and a clean slate.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.errors import HopFailedError, RefusedError
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import PeerId
from p2pinfer.wire.dialling import Address

_PING_SECONDS = 5.0
_UNREACHABLE_SECONDS = 15.0
_MEASURED_SECONDS = 60.0


class Run(NamedTuple):
    """One life of a server: from its start to its end."""

    peer_id: PeerId
    certificate: bytes


class _Value(NamedTuple):
    seconds: float
    at: float


@dataclass(slots=True)
class Experience:
    """For the network's event loop."""

    carrier: Carrier
    _pings: dict[Run, _Value] = field(default_factory=dict)
    _pinging: dict[Run, asyncio.Task[None]] = field(default_factory=dict)
    _avoided: dict[Run, float] = field(default_factory=dict)  # until
    _doubted: dict[Run, float] = field(default_factory=dict)  # until
    _broken_links: dict[tuple[PeerId, PeerId], float] = field(default_factory=dict)  # until
    _measured: dict[Run, _Value] = field(default_factory=dict)

    def avoid(self, run: Run, seconds: float) -> None:
        """Give it no new place in routes for a while."""
        self._avoided[run] = _now() + seconds
        self._pings.pop(run, None)

    def doubt(self, run: Run, seconds: float) -> None:
        """Give it new places in routes for a while only where there is no other, and if it answers."""
        self._doubted[run] = _now() + seconds
        self._pings.pop(run, None)

    def avoid_link(self, sender: PeerId, receiver: PeerId, seconds: float) -> None:
        """Don't make these two neighbours for a while, if there is another way.

        Either may be gone: they have to answer before they get another place.
        """
        self._broken_links[(sender, receiver)] = _now() + seconds
        for run in [run for run in self._pings if run.peer_id in (sender, receiver)]:
            del self._pings[run]

    def measured(self, run: Run, seconds_per_layer: float) -> None:
        """What a hop really takes, queue and all, wins over what it says of itself."""
        self._measured[run] = _Value(seconds_per_layer, _now())

    def is_avoided(self, run: Run) -> bool:
        """True if it gets no new place now."""
        return self._avoided.get(run, 0.0) > _now()

    def is_doubted(self, run: Run) -> bool:
        """True if it gets a new place only as a last resort."""
        return self._doubted.get(run, 0.0) > _now()

    def is_broken(self, sender: PeerId, receiver: PeerId) -> bool:
        """True if nothing got from one to the other lately."""
        return self._broken_links.get((sender, receiver), 0.0) > _now()

    def seconds_per_layer(self, run: Run) -> float | None:
        """As measured lately; None if it wasn't."""
        value = self._measured.get(run)
        return None if value is None or _now() - value.at > _MEASURED_SECONDS else value.seconds

    def round_trip(self, run: Run) -> float:
        """Seconds, as last measured; 0 if it never was."""
        ping = self._pings.get(run)
        return ping.seconds if ping else 0.0

    def answered(self, run: Run, within_seconds: float) -> bool:
        """True if it has answered a ping so lately."""
        ping = self._pings.get(run)
        return ping is not None and _now() - ping.at < within_seconds

    def ping(self, record: Announcement) -> asyncio.Task[None]:
        """Measure the round trip; who doesn't answer is doubted. One that is under way is not begun anew."""
        run = run_of(record)
        task = self._pinging.get(run)
        if task is None:
            task = asyncio.create_task(self._measure(record))
            self._pinging[run] = task
            task.add_done_callback(lambda _: self._pinging.pop(run, None))
        return task

    async def close(self) -> None:
        """Stop measuring."""
        tasks = list(self._pinging.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _measure(self, record: Announcement) -> None:
        address = Address(record.peer_id, record.endpoints, record.certificate)
        try:
            async with asyncio.timeout(_PING_SECONDS):
                seconds = await self.carrier.ping(address)
        except (HopFailedError, RefusedError, TimeoutError):
            self.doubt(run_of(record), _UNREACHABLE_SECONDS)
            return
        self._pings[run_of(record)] = _Value(seconds, _now())


def run_of(record: Announcement) -> Run:
    """The life of a server that its record speaks of."""
    return Run(record.peer_id, record.certificate)


def _now() -> float:
    return asyncio.get_running_loop().time()
