"""Asks servers whether they are there: the records that count when layers are chosen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import grpc

from p2pinfer.errors import HopFailedError
from p2pinfer.server.placement.asking import whom_to_ask
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.types import PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import ChannelPool, answer_of, inference_stub
from p2pinfer.wire.dialling import Ways
from p2pinfer.wire.status import refusal_of

CONNECT_SECONDS = 3.0
"""For all ways to a peer together. An answer that `call` doesn't wait for counts at the next call."""
_ASK_SECONDS = 4.0


class RollCall:
    """One server's, while it chooses its layers. An async context manager; for the event loop."""

    def __init__(
        self, us: PeerId, num_layers: int, ways: Ways | None, position: Position | None = None
    ) -> None:
        """`position` learns the round trips: so a newcomer knows where it is when it begins to serve."""
        self._us = us
        self._num_layers = num_layers
        self._position = position
        self._pool = ChannelPool(ways=ways, connect_seconds=CONNECT_SECONDS)
        self._asking: dict[PeerId, asyncio.Task[bool]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give up waiting, and close the connections. Closing twice is harmless."""
        await cancel_and_wait(*self._asking.values())
        await self._pool.close()

    async def call(self, records: Sequence[Announcement], wait_seconds: float) -> Mapping[PeerId, bool]:
        """Ask some of these servers, and wait for the answers; return who was asked and has answered.

        Another is asked for each that isn't there, also for one that was asked in an earlier call and hasn't
        answered: it counts as one that doesn't. Nobody is asked twice.
        """
        clock = asyncio.get_running_loop().time
        ends = clock() + wait_seconds
        late = set(self._asking.values())
        while True:
            asked = {
                peer_id: task.result() if task.done() else task not in late
                for peer_id, task in self._asking.items()
            }
            for record in whom_to_ask(records, asked, self._us, self._num_layers):
                self._asking[record.peer_id] = asyncio.create_task(self._ask(record))
            waiting = [task for task in self._asking.values() if not task.done()]
            if not waiting or clock() >= ends:
                return {peer_id: task.done() and task.result() for peer_id, task in self._asking.items()}
            await asyncio.wait(waiting, timeout=max(0.0, ends - clock()), return_when=asyncio.FIRST_COMPLETED)

    @property
    def is_waiting(self) -> bool:
        """True while an answer may still come."""
        return not all(task.done() for task in self._asking.values())

    async def _ask(self, record: Announcement) -> bool:
        """True if it is there. One that loads its layers says that it is busy."""
        address = record.address
        try:
            async with asyncio.timeout(_ASK_SECONDS), self._pool.connected(address) as channel:
                stub = inference_stub(channel)
                began = time.perf_counter()
                reply = await stub.Ping(pb.PingRequest())
                seconds = time.perf_counter() - began
                answer_of(record.peer_id, reply)
                if self._position is not None:
                    way = self._pool.way_to(record.peer_id)
                    self._position.measured(record.peer_id, record.cell, seconds, way)
        except grpc.aio.AioRpcError as error:
            return record.state is ServerState.JOINING and refusal_of(error) is not None
        except (HopFailedError, TimeoutError):
            return False
        return True
