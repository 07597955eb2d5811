"""Measures round trips to servers, over the way that a session's outputs would take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from p2pinfer.errors import HopFailedError
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.tasks import all_of
from p2pinfer.types import PeerId, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import ChannelPool, answer_of, inference_stub
from p2pinfer.wire.dialling import Ways

CONNECT_SECONDS = 4.0
"""For all ways to a peer together."""
ANSWER_SECONDS = 2.0
"""For the answers of one server, once it is connected."""
MEETING_SECONDS = 3.0
"""How long a server that is reached through a relay is given to be met directly, and measured so."""
LOOK_SECONDS = 0.1
PINGS = 4
"""The quickest counts: what a busy machine adds to the others is not the way."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What was measured of one server."""

    seconds: float | None  # None: it doesn't answer
    way: Way | None = None  # to it


async def round_trips(records: Sequence[Announcement], ways: Ways | None) -> dict[PeerId, RoundTrip]:
    """Measure the round trips to these servers.

    All are dialled at the same time, directly or through the tunnel, and measured one after the other, so
    that none waits for another's answer. The connections are closed at the end.
    """
    turn = asyncio.Lock()
    pool = ChannelPool(ways=ways, connect_seconds=CONNECT_SECONDS)
    try:
        return dict(await all_of(*(_round_trip(record, pool, turn) for record in records)))
    finally:
        await pool.close()


async def _round_trip(
    record: Announcement, pool: ChannelPool, turn: asyncio.Lock
) -> tuple[PeerId, RoundTrip]:
    address = record.address
    try:
        async with pool.connected(address) as channel:
            stub, way_now = inference_stub(channel), partial(pool.way_to, record.peer_id)
            trip = await _measured(stub, record.peer_id, way_now, turn)
            if trip.way is Way.RELAYED and await _is_met(way_now):
                trip = await _measured(stub, record.peer_id, way_now, turn)
    except (HopFailedError, TimeoutError, grpc.aio.AioRpcError):
        return record.peer_id, RoundTrip(None)
    return record.peer_id, trip


async def _measured(
    stub: Any, peer_id: PeerId, way_now: Callable[[], Way | None], turn: asyncio.Lock
) -> RoundTrip:
    async with turn, asyncio.timeout(ANSWER_SECONDS):
        way = way_now()  # before the pings, while which it may become a better one
        return RoundTrip(min([await _ping(stub, peer_id) for _ in range(PINGS)]), way)


async def _is_met(way_now: Callable[[], Way | None]) -> bool:
    """Wait until a server that is relayed is reached in another way; False if that takes too long."""
    for _ in range(round(MEETING_SECONDS / LOOK_SECONDS)):
        await asyncio.sleep(LOOK_SECONDS)
        if way_now() is not Way.RELAYED:
            return True
    return False


async def _ping(stub: Any, peer_id: PeerId) -> float:
    """A round trip in seconds. Raises HopFailedError as `answer_of` does, and AioRpcError."""
    began = time.perf_counter()
    reply = await stub.Ping(pb.PingRequest())
    seconds = time.perf_counter() - began
    answer_of(peer_id, reply)
    return seconds
