"""An opened route: one stream to every hop, steps in at the first, results out of the last."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from p2pinfer.client.routing import RouteHop
from p2pinfer.errors import HopFailedError, P2PInferError, ProtocolError, RefusedError
from p2pinfer.swarm.announcement import Announcement
from p2pinfer.swarm.identity import Identity
from p2pinfer.types import SESSION_ID_BYTES, PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import Address, ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.opening import PUSH_KEY_BYTES, sign_opening
from p2pinfer.wire.status import Reason, refusal_of
from p2pinfer.wire.steps import Outputs, Result, RowChunk, pack_step, read_result, step_id_of

OPENING_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class HopServer:
    """A hop of the route with the signed record that says how to reach it."""

    hop: RouteHop
    record: Announcement


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionShape:
    """What a session asks of every hop."""

    model: str
    hidden_size: int
    rows: int
    max_tokens: int
    wire_dtype: pb.WireDtype = pb.FLOAT32


class Chain:
    """A session on every hop of one route. Made by `open_chain`; steps are answered in order.

    What fails is remembered, and told to whoever waits for a result or asks for the next.
    """

    def __init__(self, servers: Sequence[HopServer], shape: SessionShape, step_seconds: float) -> None:
        self.servers = servers
        self.max_step_tokens = 1
        self._shape = shape
        self._step_seconds = step_seconds
        self._calls: list[grpc.aio.StreamStreamCall[Any, Any]] = []
        self._steps: asyncio.Queue[bytes] = asyncio.Queue()
        self._results: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: P2PInferError | None = None
        self._last_step_id = 0

    def send(self, chunks: Sequence[RowChunk], outputs: Outputs) -> int:
        """Begin to send one step to the first hop, and return its id. `receive` says if that fails."""
        self._last_step_id += 1
        self._steps.put_nowait(pack_step(self._last_step_id, chunks, outputs, self._shape.wire_dtype))
        return self._last_step_id

    async def receive(self, step_id: int, tokens: int) -> Result:
        """Wait for this step's result of `tokens` hidden states. Raises HopFailedError, RefusedError."""
        last = self.servers[-1].hop.peer_id
        while True:
            data = await self._next_result(last)
            try:
                answered = step_id_of(data)
                if answered < step_id:
                    continue
                if answered > step_id:
                    raise ProtocolError(f"step {answered} was answered before step {step_id}")
                return read_result(
                    data,
                    tokens=tokens,
                    hops=len(self.servers),
                    hidden_size=self._shape.hidden_size,
                    dtype=self._shape.wire_dtype,
                )
            except ProtocolError as error:
                raise HopFailedError(last, f"its answer is wrong: {error}") from error

    async def _next_result(self, waiting_for: PeerId) -> bytes:
        """The next answer in order; raises if a hop fails or nothing happens for too long."""
        if not self._results:
            if self._error is not None:
                raise self._error
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            silence = HopFailedError(waiting_for, f"no answer for {self._step_seconds:.0f} s", certain=False)
            timer = loop.call_later(self._step_seconds, self._fail, silence)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._results:
            return self._results.popleft()
        assert self._error is not None
        raise self._error

    def _arrived(self, result: bytes) -> None:
        self._results.append(result)
        self._wake()

    def _fail(self, error: P2PInferError) -> None:
        """The route is lost; the first reason is the one that is told."""
        if self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _write_forever(self) -> None:
        """Send steps in order, as fast as the first hop takes them."""
        call, peer_id = self._calls[0], self.servers[0].hop.peer_id
        try:
            while True:
                await call.write(pb.ClientFrame(step=await self._steps.get()))
        except asyncio.InvalidStateError:
            pass  # the stream has ended; its listener knows why, and tells
        except grpc.aio.AioRpcError as error:
            self._fail(_failure(peer_id, error))

    async def _open_hop(
        self, pool: ChannelPool, stack: AsyncExitStack, server: HopServer, opening: pb.Opening
    ) -> tuple[grpc.aio.StreamStreamCall[Any, Any], pb.Opened]:
        peer_id = server.hop.peer_id
        record = server.record
        channel = await stack.enter_async_context(
            pool.connected(Address(peer_id, record.endpoints, record.certificate))
        )
        stub: Any = InferenceStub(channel)
        call: grpc.aio.StreamStreamCall[Any, Any] = stub.Session()
        stack.callback(call.cancel)
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                await call.write(pb.ClientFrame(opening=opening))
                frame = await call.read()
        except TimeoutError as error:
            raise HopFailedError(peer_id, f"no answer to the opening for {OPENING_SECONDS:.0f} s") from error
        except asyncio.InvalidStateError as error:
            raise HopFailedError(peer_id, "it closed the session at once") from error
        except grpc.aio.AioRpcError as error:
            await pool.forget(peer_id) if refusal_of(error) is None else None
            raise _failure(peer_id, error) from error
        if frame is grpc.aio.EOF:
            raise await _why_ended(peer_id, call)
        if not frame.HasField("opened"):
            raise HopFailedError(peer_id, "it did not answer the opening")
        return call, frame.opened

    async def _listen(self, index: int, pool: ChannelPool) -> None:
        """Read one hop's stream for as long as the chain lives."""
        call, peer_id = self._calls[index], self.servers[index].hop.peer_id
        try:
            while (frame := await call.read()) is not grpc.aio.EOF:
                if frame.HasField("result") and index == len(self._calls) - 1:
                    self._arrived(frame.result)
                elif frame.HasField("notice") and frame.notice.kind == pb.Notice.NEXT_HOP_LOST:
                    lost = self.servers[min(index + 1, len(self.servers) - 1)].hop.peer_id
                    self._fail(HopFailedError(lost, f"the hop before lost it: {frame.notice.detail[:200]}"))
            self._fail(self._blame(index, await _why_ended(peer_id, call)))
        except grpc.aio.AioRpcError as error:
            if refusal_of(error) is None:
                await pool.forget(peer_id)
            self._fail(self._blame(index, _failure(peer_id, error)))

    def _blame(self, index: int, error: P2PInferError) -> P2PInferError:
        """A hop that finds its step wrong has it from the hop before, and that one is to blame."""
        if index > 0 and isinstance(error, RefusedError) and error.reason == Reason.BAD_STEP:
            return HopFailedError(self.servers[index - 1].hop.peer_id, f"what it sent on is wrong: {error}")
        return error


@asynccontextmanager
async def open_chain(
    servers: Sequence[HopServer],
    shape: SessionShape,
    *,
    pool: ChannelPool,
    identity: Identity,
    step_seconds: float,
) -> AsyncIterator[Chain]:
    """Open a session on every hop, all at once, and close them all when the block ends.

    Raises RefusedError or HopFailedError for the first hop that can't be opened.
    """
    chain = Chain(servers, shape, step_seconds)
    session_id = os.urandom(SESSION_ID_BYTES)
    # keys[i] opens the way into hop i; the client itself feeds hop 0.
    keys = [b"", *(os.urandom(PUSH_KEY_BYTES) for _ in servers[1:])]
    async with AsyncExitStack() as stack:
        openings = []
        for index, server in enumerate(servers):
            terms = pb.Terms(
                session_id=session_id,
                server=server.hop.peer_id,
                model=shape.model,
                numerics=server.record.numerics,
                first_layer=server.hop.layers.start,
                end_layer=server.hop.layers.end,
                rows=shape.rows,
                max_tokens=shape.max_tokens,
                issued_at=time.time(),
                push_key=keys[index],
                wire_dtype=shape.wire_dtype,
            )
            if index + 1 < len(servers):
                following = servers[index + 1].record.record
                terms.downstream.CopyFrom(pb.Downstream(record=following, push_key=keys[index + 1]))
            opening = sign_opening(terms, identity.public_key, identity.sign)
            openings.append(asyncio.ensure_future(chain._open_hop(pool, stack, server, opening)))
        try:
            opened = await asyncio.gather(*openings)
        finally:
            for attempt in openings:
                attempt.cancel()
            await asyncio.gather(*openings, return_exceptions=True)
        chain._calls = [call for call, _ in opened]
        chain.max_step_tokens = max(1, min(answer.max_step_tokens for _, answer in opened))
        tasks = [asyncio.create_task(chain._listen(index, pool)) for index in range(len(servers))]
        tasks.append(asyncio.create_task(chain._write_forever()))
        try:
            yield chain
        finally:
            for call in chain._calls:
                call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _why_ended(peer_id: PeerId, call: grpc.aio.StreamStreamCall[Any, Any]) -> P2PInferError:
    """The error of a stream that the server ended."""
    code, details = await call.code(), await call.details()
    error = grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(), details)
    return _failure(peer_id, error)


def _failure(peer_id: PeerId, error: grpc.aio.AioRpcError) -> P2PInferError:
    refused = refusal_of(error)
    if refused is not None:
        return RefusedError(peer_id, refused.reason, refused.detail, refused.retry_after_seconds)
    # Not even "internal" proves guilt: gRPC says so too when we wrote to a stream that was just refused.
    detail = f"{error.code().name.lower()}: {error.details() or 'the stream ended'}"
    return HopFailedError(peer_id, detail, certain=False)
