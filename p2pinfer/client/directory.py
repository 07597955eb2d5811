"""What the client knows about servers: their records, how far away they are, who failed lately."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc

from p2pinfer.client.chain import HopServer
from p2pinfer.client.routing import CLIENT, Candidate, find_route
from p2pinfer.errors import HopFailedError
from p2pinfer.swarm.announcement import Announcement, ServerState
from p2pinfer.swarm.dht import Swarm
from p2pinfer.types import PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import Address, ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceStub

_FRESH_RECORDS_SECONDS = 5.0
_FRESH_PING_SECONDS = 60.0
_PING_SECONDS = 5.0
_UNREACHABLE_SECONDS = 15.0
_ASSUMED_SECONDS_PER_LAYER = 0.001


@dataclass(slots=True)
class Directory:
    """The servers of one model, as this client sees them."""

    swarm: Swarm
    pool: ChannelPool
    model: str
    num_layers: int
    _records: dict[PeerId, Announcement] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _round_trips: dict[PeerId, tuple[float, float]] = field(default_factory=dict)  # seconds, measured at
    _avoided_until: dict[PeerId, float] = field(default_factory=dict)

    def avoid(self, peer_id: PeerId, seconds: float) -> None:
        """Leave this peer out of routes for a while, and ask the swarm anew before the next one."""
        self._avoided_until[peer_id] = time.monotonic() + seconds
        self._round_trips.pop(peer_id, None)
        self._read_at = float("-inf")

    def doubt(self, peer_ids: Iterable[PeerId]) -> None:
        """Measure these peers anew before they are used again."""
        for peer_id in peer_ids:
            self._round_trips.pop(peer_id, None)

    async def route(self) -> list[HopServer]:
        """The best route among servers that answer now. Raises NoRouteError."""
        await self._refresh()
        now = time.monotonic()
        usable = [
            record
            for record in self._records.values()
            if record.state is ServerState.SERVING
            and record.num_layers == self.num_layers
            and record.layers.end <= self.num_layers
            and self._avoided_until.get(record.peer_id, 0.0) <= now
        ]
        await asyncio.gather(*(self._measure(record) for record in usable))
        reachable = [record for record in usable if record.peer_id in self._round_trips]
        hops = find_route([_candidate(record) for record in reachable], self.num_layers, self._delay)
        return [HopServer(hop, self._records[hop.peer_id]) for hop in hops]

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at < _FRESH_RECORDS_SECONDS:
            return
        records = await self.swarm.servers(self.model)
        self._records = {record.peer_id: record for record in records}
        self._read_at = time.monotonic()

    def _delay(self, here: PeerId, there: PeerId) -> float:
        """One-way seconds: half the measured round trip; between servers what they say, or a bound."""
        if CLIENT in (here, there):
            return self._round_trips[there if here == CLIENT else here][0] / 2
        announced = self._records[here].next_hop_seconds.get(there)
        if announced is not None:
            return announced / 2
        return (self._round_trips[here][0] + self._round_trips[there][0]) / 2

    async def _measure(self, record: Announcement) -> None:
        """Ping a server unless that was done lately; one that doesn't answer is left out."""
        known = self._round_trips.get(record.peer_id)
        if known is not None and time.monotonic() - known[1] < _FRESH_PING_SECONDS:
            return
        address = Address(record.peer_id, record.endpoints, record.certificate)
        try:
            async with self.pool.connected(address) as channel:
                stub: Any = InferenceStub(channel)
                await stub.Ping(pb.PingRequest(), timeout=_PING_SECONDS)  # the first call pays for set-up
                started = time.perf_counter()
                await stub.Ping(pb.PingRequest(), timeout=_PING_SECONDS)
                seconds = time.perf_counter() - started
        except (HopFailedError, grpc.aio.AioRpcError):
            self._round_trips.pop(record.peer_id, None)
            self._avoided_until[record.peer_id] = time.monotonic() + _UNREACHABLE_SECONDS
            await self.pool.forget(record.peer_id)
            return
        self._round_trips[record.peer_id] = (seconds, time.monotonic())


def _candidate(record: Announcement) -> Candidate:
    return Candidate(
        peer_id=record.peer_id,
        layers=record.layers,
        numerics=record.numerics,
        seconds_per_layer=record.decode_seconds_per_layer or _ASSUMED_SECONDS_PER_LAYER,
    )
