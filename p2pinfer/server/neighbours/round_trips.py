"""Measures round trips to servers, over the way that a session's outputs would take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
"""For each way to a peer."""
ANSWER_SECONDS = 2.0
"""For the answers of one server, once it is connected."""
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
            stub = inference_stub(channel)
            async with turn, asyncio.timeout(ANSWER_SECONDS):
                way = pool.way_to(record.peer_id)  # the pings may be what makes it a better one
                seconds = [await _ping(stub, record.peer_id) for _ in range(PINGS)]
    except (HopFailedError, TimeoutError, grpc.aio.AioRpcError):
        return record.peer_id, RoundTrip(None)
    return record.peer_id, RoundTrip(min(seconds), way)


async def _ping(stub: Any, peer_id: PeerId) -> float:
    """A round trip in seconds. Raises HopFailedError as `answer_of` does, and AioRpcError."""
    began = time.perf_counter()
    reply = await stub.Ping(pb.PingRequest())
    seconds = time.perf_counter() - began
    answer_of(peer_id, reply)
    return seconds
