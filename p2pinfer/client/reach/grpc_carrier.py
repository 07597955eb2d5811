"""The real carrier: gRPC channels and TLS lanes, dialled directly or through a tunnel."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import grpc

from p2pinfer.client.reach.carrier import ClientLane, Waiter
from p2pinfer.client.reach.pong import Pong, pong
from p2pinfer.errors import HopFailedError, P2PInferError, RefusedError
from p2pinfer.types import Address, PeerId, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import ChannelPool, inference_stub, parsed
from p2pinfer.wire.dialling import Ways, way_taken
from p2pinfer.wire.lane_handshake import lane_to
from p2pinfer.wire.lanes import Lane, deliver
from p2pinfer.wire.status import refusal_of, words_of

Reply = TypeVar("Reply")
_SessionCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, Any]"


class GrpcCarrier:
    """The client's `Carrier`: one channel per server, shared by all sessions."""

    def __init__(self, ways: Ways | None) -> None:
        self._pool = ChannelPool(ways=ways)

    @asynccontextmanager
    async def open(self, address: Address, opening: pb.Opening) -> AsyncIterator[GrpcHopCall]:
        """Open a session."""
        async with self._pool.connected(address) as channel:
            stub = inference_stub(channel)
            call = GrpcHopCall(address.peer_id, stub.Session(opening), self._pool)
            try:
                yield call
            finally:
                await call.close()

    async def set_upstream(self, address: Address, request: pb.SetUpstreamRequest) -> None:
        """Let a hop take its steps from another sender."""
        await self._ask(address, lambda stub: stub.SetUpstream(request))

    async def set_downstream(
        self, address: Address, request: pb.SetDownstreamRequest
    ) -> pb.SetDownstreamReply:
        """Let a hop replay its outputs to another receiver, and send the next ones there."""
        return await self._ask(address, lambda stub: stub.SetDownstream(request))

    async def progress(self, address: Address, request: pb.ProgressRequest) -> pb.ProgressReply:
        """Ask a hop how far it is."""
        return await self._ask(address, lambda stub: stub.Progress(request))

    async def settle(self, address: Address, request: pb.SettleRequest) -> pb.SettleReply:
        """Give a hop a receipt to countersign."""
        return await self._ask(address, lambda stub: stub.Settle(request))

    async def ping(self, address: Address) -> Pong:
        """Measure a round trip. A first one, not counted, connects."""

        async def measure(stub: Any) -> Pong:
            await stub.Ping(pb.PingRequest())
            way = self._pool.way_to(address.peer_id)  # the ping may be what makes it a better one
            started = time.perf_counter()
            reply = await stub.Ping(pb.PingRequest())
            return pong(address, reply, time.perf_counter() - started, way)

        return await self._ask(address, measure)

    @asynccontextmanager
    async def lane(self, address: Address) -> AsyncIterator[ClientLane]:
        """Dial a lane."""
        async with lane_to(address, self._pool.ways, self._pool.connect_seconds) as lane:
            with contextlib.closing(lane):
                yield lane

    def way_to(self, peer_id: PeerId) -> Way | None:
        """How calls reach this server now."""
        return self._pool.way_to(peer_id)

    def way_of(self, lane: ClientLane, peer_id: PeerId) -> Way | None:
        """How a lane reaches this server now."""
        assert isinstance(lane, Lane)
        return way_taken(self._pool.ways, peer_id, is_tunnelled=lane.is_tunnelled)

    async def deliver(self, lane: ClientLane, frame: bytes) -> None:
        """Send a whole frame, and wait for the receiver if necessary."""
        assert isinstance(lane, Lane)
        await deliver(lane, frame)

    def waiter(self) -> Waiter:
        """Make a waiter for a thread that polls sockets."""
        return PollWaiter()

    async def close(self) -> None:
        """Close every channel."""
        await self._pool.close()

    async def _ask(self, address: Address, ask: Callable[[Any], Awaitable[Reply]]) -> Reply:
        """Make a call. A connection that fails is not used again."""
        async with self._pool.connected(address) as channel:
            try:
                return parsed(address.peer_id, await ask(inference_stub(channel)))
            except grpc.aio.AioRpcError as error:
                if refusal_of(error) is None:
                    await self._pool.forget(address.peer_id)
                raise _failure(address.peer_id, error) from None


class GrpcHopCall:
    """An open session's call."""

    def __init__(self, peer_id: PeerId, call: _SessionCall, pool: ChannelPool) -> None:
        self._peer_id = peer_id
        self._call = call
        self._pool = pool

    async def frame(self) -> pb.ServerFrame:
        """Wait for the hop's next message. Raises HopFailedError or RefusedError when the call has ended."""
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError as error:
            if refusal_of(error) is None:
                await self._pool.forget(self._peer_id)
            raise _failure(self._peer_id, error) from None
        if frame is grpc.aio.EOF:
            raise await self._why_ended()
        answer: pb.ServerFrame = parsed(self._peer_id, frame)
        return answer

    async def close(self) -> None:
        """End the call."""
        self._call.cancel()

    async def _why_ended(self) -> P2PInferError:
        code, details = await self._call.code(), await self._call.details()
        initial, trailing = await self._call.initial_metadata(), await self._call.trailing_metadata()
        return _failure(self._peer_id, grpc.aio.AioRpcError(code, initial, trailing, details))


class PollWaiter:
    """Polls the lanes' sockets, and a socket of its own that `wake` writes to."""

    def __init__(self) -> None:
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._wake_receiver, select.POLLIN)
        self._watched: tuple[ClientLane | None, ClientLane | None] = (None, None)
        self._descriptors: list[int] = []

    def wait(self, results: ClientLane, unsent: ClientLane | None, seconds: float) -> None:
        """Return when `results` can be read, `unsent` takes more, `wake` was called, or time is up."""
        if self._watched != (results, unsent):
            self._watch(results, unsent)
        events = self._poll.poll(max(0.0, seconds) * 1000)
        if any(descriptor == self._wake_receiver.fileno() for descriptor, _ in events):
            with contextlib.suppress(BlockingIOError):
                self._wake_receiver.recv(4096)

    def wake(self) -> None:
        """End the present wait, or the next one. Any thread may call it."""
        with contextlib.suppress(OSError):  # full: the wait ends anyway; closed: no thread waits
            self._wake_sender.send(b"\0")

    def close(self) -> None:
        """Close the waiter's own sockets. The lanes are the caller's."""
        self._wake_receiver.close()
        self._wake_sender.close()

    def _watch(self, results: ClientLane, unsent: ClientLane | None) -> None:
        """Poll these lanes instead of the former ones, which may be closed, their descriptors reused."""
        for descriptor in self._descriptors:
            self._poll.unregister(descriptor)
        self._descriptors.clear()
        for lane, event in ((results, select.POLLIN), (unsent, select.POLLOUT)):
            if isinstance(lane, Lane) and lane.fileno() >= 0:
                self._poll.register(lane, event)
                self._descriptors.append(lane.fileno())
        self._watched = (results, unsent)


def _failure(peer_id: PeerId, error: grpc.aio.AioRpcError) -> P2PInferError:
    refused = refusal_of(error)
    if refused is not None:
        return RefusedError(peer_id, refused.reason, refused.detail, refused.retry_after_seconds)
    # Even "internal" proves nothing: gRPC also reports it for a write to a stream that was just refused.
    return HopFailedError(peer_id, words_of(error), certain=False)
