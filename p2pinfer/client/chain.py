"""An opened route: one stream to every hop, steps in at the first, results out of the last."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from p2pinfer.client.routing import RouteHop
from p2pinfer.errors import HopFailedError, InvalidTensorError, P2PInferError, RefusedError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.swarm.announcement import Announcement
from p2pinfer.swarm.identity import Identity
from p2pinfer.types import SESSION_ID_BYTES, PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import Address, ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.opening import PUSH_KEY_BYTES, sign_opening
from p2pinfer.wire.status import Reason, refusal_of
from p2pinfer.wire.steps import RowChunk
from p2pinfer.wire.tensors import decode_hidden, encode_hidden

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


@dataclass(frozen=True, slots=True)
class StepResult:
    """What the last hop answered, and how long each hop waited and computed."""

    hidden: Hidden | None
    hop_seconds: list[tuple[float, float]]


class Chain:
    """A session on every hop of one route. Made by `open_chain`; steps are answered in order."""

    def __init__(self, servers: Sequence[HopServer], hidden_size: int, step_seconds: float) -> None:
        self.servers = servers
        self.max_step_tokens = 1
        self._hidden_size = hidden_size
        self._step_seconds = step_seconds
        self._calls: list[grpc.aio.StreamStreamCall[Any, Any]] = []
        self._results: asyncio.Queue[pb.Result] = asyncio.Queue()
        self._failed: asyncio.Future[P2PInferError] = asyncio.get_running_loop().create_future()
        self._last_step_id = 0

    async def send(self, chunks: Sequence[RowChunk], hidden: Hidden, outputs: int) -> int:
        """Send one step to the first hop and return its id; `hidden` is the chunks' tokens together."""
        self._last_step_id += 1
        step = pb.Step(
            step_id=self._last_step_id,
            chunks=[
                pb.Chunk(row=chunk.row, position=chunk.position, tokens=len(chunk.hidden)) for chunk in chunks
            ],
            hidden=encode_hidden(hidden),
            outputs=outputs,  # type: ignore[arg-type]
        )
        first = self.servers[0].hop.peer_id
        await self._or_failure(self._write(self._calls[0], pb.ClientFrame(step=step)), first)
        return self._last_step_id

    async def receive(self, step_id: int, tokens: int) -> StepResult:
        """Wait for this step's result of `tokens` hidden states (0: none). Raises HopFailedError."""
        last = self.servers[-1].hop.peer_id
        while True:
            result = await self._or_failure(self._results.get(), last)
            if result.step_id == step_id:
                break
            if result.step_id > step_id:
                raise HopFailedError(last, f"step {result.step_id} was answered before step {step_id}")
        hidden = None
        if tokens:
            try:
                hidden = decode_hidden(result.hidden, rows=tokens, columns=self._hidden_size)
            except InvalidTensorError as error:
                raise HopFailedError(last, f"it answered with an invalid tensor: {error}") from error
        if len(result.times) != len(self.servers):
            raise HopFailedError(
                last, f"{len(result.times)} of {len(self.servers)} hops say they ran the step"
            )
        seconds = [(hop.queue_microseconds / 1e6, hop.compute_microseconds / 1e6) for hop in result.times]
        return StepResult(hidden, seconds)

    async def _write(self, call: grpc.aio.StreamStreamCall[Any, Any], frame: pb.ClientFrame) -> None:
        try:
            await call.write(frame)
        except asyncio.InvalidStateError:
            # The stream has ended; its reader knows why, and `_or_failure` hears it from there.
            await asyncio.shield(self._failed)
        except grpc.aio.AioRpcError as error:
            self._fail(_failure(self.servers[0].hop.peer_id, error))

    async def _or_failure(self, work: Any, waiting_for: PeerId) -> Any:
        """Do the work, unless a hop fails or nothing happens for too long."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait(
                {task, self._failed}, timeout=self._step_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if self._failed.done():
                raise self._failed.result()
            if not task.done():
                raise HopFailedError(waiting_for, f"no answer for {self._step_seconds:.0f} s", certain=False)
            return task.result()
        finally:
            task.cancel()

    def _fail(self, error: P2PInferError) -> None:
        if not self._failed.done():
            self._failed.set_result(error)

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
                    self._results.put_nowait(frame.result)
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
    chain = Chain(servers, shape.hidden_size, step_seconds)
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
            )
            if index + 1 < len(servers):
                following = servers[index + 1].record.record
                terms.downstream.CopyFrom(pb.Downstream(record=following, push_key=keys[index + 1]))
            opening = sign_opening(terms, identity.public_key, identity.sign)
            openings.append(asyncio.ensure_future(chain._open_hop(pool, stack, server, opening)))
        try:
            opened = await asyncio.gather(*openings)
        finally:
            for task in openings:
                task.cancel()
            await asyncio.gather(*openings, return_exceptions=True)
        chain._calls = [call for call, _ in opened]
        chain.max_step_tokens = max(1, min(answer.max_step_tokens for _, answer in opened))
        listeners = [asyncio.create_task(chain._listen(index, pool)) for index in range(len(servers))]
        try:
            yield chain
        finally:
            for call in chain._calls:
                call.cancel()
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)
            chain._failed.cancel()


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
