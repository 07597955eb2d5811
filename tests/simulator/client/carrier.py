"""The client's carrier over simulated connections; it replaces grpc_carrier.py and wire/channels.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

from p2pinfer.client.reach.carrier import ClientLane
from p2pinfer.client.reach.pong import Pong, pong
from p2pinfer.errors import HopFailedError
from p2pinfer.types import Address, PeerId, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.dialling import CONNECT_SECONDS
from p2pinfer.wire.lanes import deliver
from tests.simulator.client.program import Program
from tests.simulator.network.calls import Call, ClientChannel
from tests.simulator.network.dialling import connect, lane_to
from tests.simulator.network.host import Host
from tests.simulator.network.lanes import SimLane

_SHORTEST_WAIT_SECONDS = 0.001
"""The resolution of poll. Without it, a wait shortened by a rounding error would end at once, for ever."""


class SimHopCall:
    """An open session's call."""

    def __init__(self, call: Call, carrier: SimCarrier, peer_id: PeerId) -> None:
        self._call = call
        self._carrier = carrier
        self._peer_id = peer_id

    async def frame(self) -> pb.ServerFrame:
        try:
            frame = await self._call.frame()
        except HopFailedError:
            self._carrier.forget(self._peer_id)
            raise
        assert isinstance(frame, pb.ServerFrame)
        return frame

    async def close(self) -> None:
        self._call.cancel()


@dataclass(slots=True, eq=False)
class _Connection:
    address: Address
    channel: ClientChannel
    users: int = 0


class SimWaiter:
    """Let the world go on until a lane can be read or written, `wake` is called, or the time is up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._woken = False
        self._waiting: asyncio.Future[None] | None = None

    def wait(self, results: ClientLane, unsent: ClientLane | None, seconds: float) -> None:
        assert isinstance(results, SimLane)
        if results.socket.readable or self._woken or (isinstance(unsent, SimLane) and unsent.writable):
            self._woken = False
            return
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(max(_SHORTEST_WAIT_SECONDS, seconds), self._end)
        results.socket.on_readable = self._end
        if isinstance(unsent, SimLane):
            unsent.socket.on_writable = self._end
        Program.current().wait_for(self._waiting)
        timer.cancel()
        results.socket.on_readable = None
        if isinstance(unsent, SimLane):
            unsent.socket.on_writable = None
        self._woken, self._waiting = False, None

    def wake(self) -> None:
        self._woken = True
        self._end()

    def close(self) -> None:
        pass

    def _end(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class SimCarrier:
    """The client's `Carrier`."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._loop = loop
        self._connections: dict[PeerId, _Connection] = {}
        self._locks: dict[PeerId, asyncio.Lock] = {}

    @asynccontextmanager
    async def open(self, address: Address, opening: pb.Opening) -> AsyncIterator[SimHopCall]:
        async with self._connected(address) as channel:
            call = SimHopCall(channel.begin("Session", opening), self, address.peer_id)
            try:
                yield call
            finally:
                await call.close()

    async def set_upstream(self, address: Address, request: pb.SetUpstreamRequest) -> None:
        await self._ask(address, "SetUpstream", request)

    async def set_downstream(
        self, address: Address, request: pb.SetDownstreamRequest
    ) -> pb.SetDownstreamReply:
        reply: pb.SetDownstreamReply = await self._ask(address, "SetDownstream", request)
        return reply

    async def progress(self, address: Address, request: pb.ProgressRequest) -> pb.ProgressReply:
        reply: pb.ProgressReply = await self._ask(address, "Progress", request)
        return reply

    async def settle(self, address: Address, request: pb.SettleRequest) -> pb.SettleReply:
        reply: pb.SettleReply = await self._ask(address, "Settle", request)
        return reply

    async def ping(self, address: Address) -> Pong:
        await self._ask(address, "Ping", pb.PingRequest())
        started = self._loop.time()
        reply = await self._ask(address, "Ping", pb.PingRequest())
        return pong(address, reply, self._loop.time() - started)

    @asynccontextmanager
    async def lane(self, address: Address) -> AsyncIterator[ClientLane]:
        async with lane_to(address, None, CONNECT_SECONDS) as lane:
            with closing(lane):
                yield lane

    def way_to(self, peer_id: PeerId) -> Way | None:
        return Way.DIRECT

    def way_of(self, lane: ClientLane, peer_id: PeerId) -> Way | None:
        return Way.DIRECT

    async def deliver(self, lane: ClientLane, frame: bytes) -> None:
        assert isinstance(lane, SimLane)
        await deliver(lane, frame)  # type: ignore[arg-type]

    def waiter(self) -> SimWaiter:
        return SimWaiter(self._loop)

    def forget(self, peer_id: PeerId) -> None:
        """Never use the present connection to this server again."""
        connection = self._connections.pop(peer_id, None)
        if connection is not None and connection.users == 0:
            connection.channel.close("not needed any more")

    async def close(self) -> None:
        for peer_id in list(self._connections):
            self.forget(peer_id)

    @asynccontextmanager
    async def _connected(self, address: Address) -> AsyncIterator[ClientChannel]:
        connection = await self._acquire(address)
        try:
            yield connection.channel
        finally:
            connection.users -= 1
            if connection.users == 0 and self._connections.get(address.peer_id) is not connection:
                connection.channel.close("not needed any more")

    async def _acquire(self, address: Address) -> _Connection:
        async with self._locks.setdefault(address.peer_id, asyncio.Lock()):
            connection = self._connections.get(address.peer_id)
            if connection is not None and (connection.address != address or connection.channel.broken):
                self.forget(address.peer_id)
                connection = None
            if connection is None:
                socket = await connect(self._host, address, "calls", CONNECT_SECONDS)
                connection = _Connection(address, ClientChannel(address.peer_id, socket, self._loop))
                self._connections[address.peer_id] = connection
            connection.users += 1
            return connection

    async def _ask(self, address: Address, method: str, request: Any) -> Any:
        async with self._connected(address) as channel:
            call = channel.begin(method, request)
            try:
                return await call.frame()
            except HopFailedError:
                self.forget(address.peer_id)
                raise
            finally:
                call.cancel()
