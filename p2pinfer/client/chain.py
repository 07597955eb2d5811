"""An opened route: one call to every hop, a lane for steps to the first, one for results from the last."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import grpc

from p2pinfer.client.routing import RouteHop
from p2pinfer.errors import HopFailedError, P2PInferError, ProtocolError, RefusedError
from p2pinfer.swarm.announcement import Announcement
from p2pinfer.swarm.identity import Identity
from p2pinfer.types import SESSION_ID_BYTES, PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import Address, ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.lanes import Hello, Lane, Role, lane_to
from p2pinfer.wire.opening import KEY_BYTES, sign_opening
from p2pinfer.wire.status import Reason, refusal_of
from p2pinfer.wire.steps import (
    Outputs,
    Result,
    RowChunk,
    max_result_bytes,
    pack_step,
    read_result,
    step_id_of,
)

OPENING_SECONDS = 15.0
_REASON_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class HopServer:
    """A hop of the route with the signed record that says how to reach it."""

    hop: RouteHop
    record: Announcement

    @property
    def address(self) -> Address:
        """Where it is, by its own record."""
        return Address(self.record.peer_id, self.record.endpoints, self.record.certificate)


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

    `send` and `receive` are for the thread that generates: it writes and reads its lanes itself, for
    every hand-over to another thread would cost as much as a hop. What goes wrong at a hop is told to the
    event loop by that hop's call, and from there to this thread.
    """

    def __init__(
        self,
        servers: Sequence[HopServer],
        shape: SessionShape,
        *,
        steps: Lane,
        results: Lane,
        max_step_tokens: int,
        step_seconds: float,
    ) -> None:
        """`steps` leads to the first hop and `results` from the last; both have said hello."""
        self.servers = servers
        self.max_step_tokens = max_step_tokens
        self._shape = shape
        self._step_seconds = step_seconds
        self._steps = steps
        self._results = results
        results.max_frame_bytes = max_result_bytes(
            max_step_tokens, len(servers), shape.hidden_size, shape.wire_dtype
        )
        self._error: P2PInferError | None = None
        self._wake, self._waker = socket.socketpair()
        self._waiting = select.poll()
        self._waiting.register(results, select.POLLIN)
        self._waiting.register(self._wake, select.POLLIN)
        self._unsent = False
        self._last_step_id = 0

    def send(self, chunks: Sequence[RowChunk], outputs: Outputs) -> int:
        """Begin to send one step to the first hop, and return its id; `receive` goes on with it.

        Raises HopFailedError, RefusedError.
        """
        self._check()
        self._last_step_id += 1
        step = pack_step(self._last_step_id, chunks, outputs, self._shape.wire_dtype)
        try:
            self._note_unsent(not self._steps.send(step))
        except OSError as error:
            self._lost(0, error)
        return self._last_step_id

    def receive(self, step_id: int, tokens: int) -> Result:
        """Wait for this step's result of `tokens` hidden states. Raises HopFailedError, RefusedError."""
        last = self.servers[-1].hop.peer_id
        deadline = time.monotonic() + self._step_seconds
        while True:
            frame = self._next_result(deadline)
            try:
                answered = step_id_of(frame)
                if answered < step_id:
                    continue
                if answered > step_id:
                    raise ProtocolError(f"step {answered} was answered before step {step_id}")
                return read_result(
                    frame,
                    tokens=tokens,
                    hops=len(self.servers),
                    hidden_size=self._shape.hidden_size,
                    dtype=self._shape.wire_dtype,
                )
            except ProtocolError as error:
                raise HopFailedError(last, f"its answer is wrong: {error}") from error

    def fail(self, error: P2PInferError) -> None:
        """The route is lost; the first reason is the one that is told. Any thread may call it."""
        if self._error is None:
            self._error = error
            with contextlib.suppress(OSError):
                self._waker.send(b"\0")

    def close(self) -> None:
        """Close the lanes."""
        for end in (self._steps, self._results, self._wake, self._waker):
            end.close()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _next_result(self, deadline: float) -> bytes:
        """The next answer in order; raises if a hop fails or nothing happens for too long."""
        last = len(self.servers) - 1
        while True:
            try:
                if (frame := self._results.receive()) is not None:
                    return frame
            except (OSError, EOFError) as error:
                self._lost(last, error)
            except ProtocolError as error:
                raise HopFailedError(self.servers[last].hop.peer_id, str(error)) from error
            self._check()
            if self._unsent:
                try:
                    self._note_unsent(not self._steps.flush())
                except OSError as error:
                    self._lost(0, error)
            self._wait(deadline)

    def _note_unsent(self, unsent: bool) -> None:
        if unsent != self._unsent:
            self._unsent = unsent
            if unsent:
                self._waiting.register(self._steps, select.POLLOUT)
            else:
                self._waiting.unregister(self._steps)

    def _wait(self, deadline: float) -> None:
        """Wait until a lane or an error wants attention. Raises HopFailedError after the deadline."""
        if not self._waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            silent = self.servers[-1].hop.peer_id
            raise HopFailedError(silent, f"no answer for {self._step_seconds:.0f} s", certain=False)

    def _lost(self, index: int, error: Exception) -> NoReturn:
        """A lane broke. The hop's call mostly says why, but perhaps a moment later."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if self._error is None:
            poll.poll(_REASON_SECONDS * 1000)
        self._check()
        raise HopFailedError(self.servers[index].hop.peer_id, f"its lane broke: {error}", certain=False)

    async def listen(self, index: int, call: SessionCall, pool: ChannelPool) -> None:
        """Hear one hop's call for as long as the chain lives."""
        peer_id = self.servers[index].hop.peer_id
        try:
            while await call.read() is not grpc.aio.EOF:
                pass
            self.fail(self._blame(index, await _why_ended(peer_id, call)))
        except grpc.aio.AioRpcError as error:
            if refusal_of(error) is None:
                await pool.forget(peer_id)
            self.fail(self._blame(index, _failure(peer_id, error)))

    def _blame(self, index: int, error: P2PInferError) -> P2PInferError:
        """Who is to blame, if not the hop that tells.

        A hop that finds its step wrong has it from the hop before; one that can't send on, or is told
        nothing but that its lane broke, speaks of the next.
        """
        if not isinstance(error, RefusedError):
            return error
        if index > 0 and error.reason == Reason.BAD_STEP:
            return HopFailedError(self.servers[index - 1].hop.peer_id, f"what it sent on is wrong: {error}")
        if index + 1 < len(self.servers) and error.reason == Reason.NEXT_HOP_UNREACHABLE:
            return HopFailedError(self.servers[index + 1].hop.peer_id, f"the hop before lost it: {error}")
        return error


SessionCall: TypeAlias = "grpc.aio.UnaryStreamCall[Any, Any]"


async def _open_hop(
    pool: ChannelPool, stack: AsyncExitStack, server: HopServer, opening: pb.Opening
) -> tuple[SessionCall, pb.Opened]:
    peer_id = server.hop.peer_id
    channel = await stack.enter_async_context(pool.connected(server.address))
    stub: Any = InferenceStub(channel)
    call: SessionCall = stub.Session(opening)
    stack.callback(call.cancel)
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            frame = await call.read()
    except TimeoutError as error:
        raise HopFailedError(peer_id, f"no answer to the opening for {OPENING_SECONDS:.0f} s") from error
    except grpc.aio.AioRpcError as error:
        await pool.forget(peer_id) if refusal_of(error) is None else None
        raise _failure(peer_id, error) from error
    if frame is grpc.aio.EOF:
        raise await _why_ended(peer_id, call)
    if not frame.HasField("opened"):
        raise HopFailedError(peer_id, "it did not answer the opening")
    return call, frame.opened


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
    session_id = os.urandom(SESSION_ID_BYTES)
    steps_keys = [os.urandom(KEY_BYTES) for _ in servers]
    results_key = os.urandom(KEY_BYTES)
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
            steps_key=steps_keys[index],
            wire_dtype=shape.wire_dtype,
        )
        if index + 1 < len(servers):
            following = servers[index + 1].record.record
            terms.downstream.CopyFrom(pb.Downstream(record=following, steps_key=steps_keys[index + 1]))
        else:
            terms.results_key = results_key
        openings.append(sign_opening(terms, identity.public_key, identity.sign))

    async with AsyncExitStack() as stack:
        calls = [
            asyncio.ensure_future(_open_hop(pool, stack, server, opening))
            for server, opening in zip(servers, openings, strict=True)
        ]
        lanes = [asyncio.ensure_future(_dial(pool, stack, server)) for server in (servers[0], servers[-1])]
        try:
            opened = await asyncio.gather(*calls)
            steps, results = await asyncio.gather(*lanes)
        finally:
            for attempt in (*calls, *lanes):
                attempt.cancel()
            await asyncio.gather(*calls, *lanes, return_exceptions=True)
        _say_hello(servers[0], steps, Hello(Role.STEPS, session_id, steps_keys[0]))
        _say_hello(servers[-1], results, Hello(Role.RESULTS, session_id, results_key))
        chain = Chain(
            servers,
            shape,
            steps=steps,
            results=results,
            max_step_tokens=max(1, min(answer.max_step_tokens for _, answer in opened)),
            step_seconds=step_seconds,
        )
        stack.callback(chain.close)
        listeners = [
            asyncio.create_task(chain.listen(index, call, pool)) for index, (call, _) in enumerate(opened)
        ]
        try:
            yield chain
        finally:
            for call, _ in opened:
                call.cancel()
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)


async def _dial(pool: ChannelPool, stack: AsyncExitStack, server: HopServer) -> Lane:
    way = lane_to(server.address, pool.tunnel, pool.connect_seconds)
    lane = await stack.enter_async_context(way)
    stack.callback(lane.close)
    return lane


def _say_hello(server: HopServer, lane: Lane, hello: Hello) -> None:
    try:
        lane.send(hello.pack())
    except OSError as error:
        raise HopFailedError(server.hop.peer_id, f"its lane broke: {error}", certain=False) from error


async def _why_ended(peer_id: PeerId, call: SessionCall) -> P2PInferError:
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
