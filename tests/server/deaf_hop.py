"""A next hop that takes lanes and never reads them, to test senders whose bytes are not taken."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from p2pinfer.identity import Identity
from p2pinfer.server.door.front_door import listen_on
from p2pinfer.server.sessions import next_hops
from p2pinfer.swarm.records import announcement
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.lane_handshake import accept_lane, lane_to
from p2pinfer.wire.lanes import Lane
from tests.fakes import MODEL


@dataclass(slots=True)
class DeafHop:
    """Takes lanes and never reads them."""

    downstream: pb.Downstream
    lanes: list[Lane] = field(default_factory=list)


@asynccontextmanager
async def deaf_hop(monkeypatch) -> AsyncIterator[DeafHop]:
    """Small buffers on both sides: unread bytes stop the sender after some kilobytes."""

    @asynccontextmanager
    async def narrow_lane_to(*args, **options):
        async with lane_to(*args, **options) as lane:
            lane._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            yield lane

    monkeypatch.setattr(next_hops, "lane_to", narrow_lane_to)
    certificate, identity = new_certificate(), Identity.ephemeral()
    listener = listen_on("127.0.0.1:0")
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    now = time.time()
    record = Announcement(
        peer_id=identity.peer_id,
        model=MODEL,
        model_name="fake",
        num_layers=4,
        layers=Span(2, 4),
        state=ServerState.SERVING,
        numerics="fake-1",
        endpoints=(f"127.0.0.1:{listener.getsockname()[1]}",),
        certificate=certificate.der,
        announced_at=now,
        expires_at=now + 60,
    )
    hop = DeafHop(
        pb.Downstream(
            record=announcement.encode(record, identity), session_id=bytes(16), steps_key=os.urandom(32)
        )
    )

    async def accept() -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
            sock.setblocking(False)
            hop.lanes.append(await accept_lane(sock, certificate.lanes))

    accepting = asyncio.create_task(accept())
    try:
        yield hop
    finally:
        accepting.cancel()
        await asyncio.wait({accepting})
        listener.close()
        for lane in hop.lanes:
            lane.close()
