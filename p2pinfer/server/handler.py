"""The gRPC service: opens sessions, runs steps, and hands outputs on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc

from p2pinfer.errors import HopFailedError, InvalidRecordError, ProtocolError
from p2pinfer.server.admission import Load, admit
from p2pinfer.server.batcher import Batcher, Rows
from p2pinfer.server.forwarding import Forwarder, forwarder_to
from p2pinfer.server.sessions import ServerSession, SessionTable
from p2pinfer.swarm import announcement
from p2pinfer.swarm.identity import verify
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import Address, ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceServicer
from p2pinfer.wire.opening import read_opening
from p2pinfer.wire.status import Reason, Refused, as_refused, errors_as_status
from p2pinfer.wire.steps import (
    MAX_STEP_TOKENS,
    RowChunk,
    hop_time,
    pack_result,
    pack_step,
    read_step,
    select_outputs,
    step_id_of,
)

logger = logging.getLogger(__name__)

OPENING_SECONDS = 10.0

Context = Any
"""grpc.aio.ServicerContext, whose generics exist for type checkers only."""


class Handler(InferenceServicer):
    """Serves one model span. `load()` says what the server is and has left, afresh at each call."""

    def __init__(
        self,
        sessions: SessionTable,
        batcher: Batcher,
        pool: ChannelPool,
        load: Callable[[], Load],
    ) -> None:
        self._sessions = sessions
        self._batcher = batcher
        self._pool = pool
        self._load = load

    async def Ping(self, request: pb.PingRequest, context: Context) -> pb.PingReply:
        """Answer at once: the caller measures the round trip."""
        load = self._load()
        return pb.PingReply(
            server=load.peer_id,
            queue_depth=self._batcher.queue_depth,
            free_cache_tokens=load.free_cache_tokens,
        )

    async def Session(self, _: AsyncIterator[pb.ClientFrame], context: Context) -> None:
        """Serve one session: the first frame opens it, its stream's end closes it."""
        async with errors_as_status(context):
            client, terms = await self._read_terms(context)
            if refused := admit(terms, self._load(), self._sessions.count_of(client)):
                raise refused
            lock = asyncio.Lock()

            async def answer(frame: pb.ServerFrame) -> None:
                async with lock:  # results, notices and the opening's answer share one stream
                    await context.write(frame)

            async with (
                self._sessions.open(client, terms, answer) as session,
                self._downstream(terms) as forwarder,
            ):
                session.forwarder = forwarder
                await answer(
                    pb.ServerFrame(
                        opened=pb.Opened(
                            max_step_tokens=MAX_STEP_TOKENS, idle_seconds=self._sessions.idle_seconds
                        )
                    )
                )
                await self._serve_client(session, context)

    async def Push(self, _: AsyncIterator[pb.PushFrame], context: Context) -> None:
        """Take steps from the previous hop of a session that its client opened here."""
        async with errors_as_status(context):
            frame = await _read(context, OPENING_SECONDS)
            if frame is None or not frame.HasField("opening"):
                raise Refused(Reason.BAD_STEP, "a push stream begins with its opening")
            session = self._sessions.find(frame.opening.session_id, frame.opening.push_key)
            if session.pushed_by is not None:
                raise Refused(Reason.UNKNOWN_SESSION, "another stream already pushes into this session")
            session.pushed_by = context
            await context.write(pb.PushReply())
            try:
                while (frame := await _read(context)) is not None:
                    await self._run_step(session, _step_of(frame))
            except (Refused, ProtocolError) as error:
                session.end(as_refused(error))
                raise
            finally:
                session.pushed_by = None

    async def _read_terms(self, context: Context) -> tuple[bytes, pb.Terms]:
        """The client's public key and what it signed."""
        frame = await _read(context, OPENING_SECONDS)
        if frame is None or not frame.HasField("opening"):
            raise Refused(Reason.BAD_OPENING, "a session begins with its opening")
        terms = read_opening(frame.opening, now=time.time(), verify=verify)
        return frame.opening.client_public_key, terms

    @asynccontextmanager
    async def _downstream(self, terms: pb.Terms) -> AsyncIterator[Forwarder | None]:
        """Connect to the next hop, if the terms name one."""
        if not terms.HasField("downstream"):
            yield None
            return
        try:
            record = announcement.decode(terms.downstream.record)
        except InvalidRecordError as error:
            raise Refused(Reason.BAD_OPENING, f"the next hop's record is not valid: {error}") from error
        address = Address(record.peer_id, record.endpoints, record.certificate)
        async with AsyncExitStack() as stack:
            try:
                forwarder = await stack.enter_async_context(
                    forwarder_to(self._pool, address, terms.session_id, terms.downstream.push_key)
                )
            except HopFailedError as error:
                raise Refused(Reason.NEXT_HOP_UNREACHABLE, str(error)) from error
            yield forwarder

    async def _serve_client(self, session: ServerSession, context: Context) -> None:
        """Read steps until the client closes, or the session ends for another reason."""
        reading = asyncio.create_task(self._read_steps(session, context))
        try:
            waiting_for: list[asyncio.Future[Any]] = [reading, session.ended]
            await asyncio.wait(waiting_for, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            if session.ended.done():
                raise session.ended.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_steps(self, session: ServerSession, context: Context) -> None:
        while (frame := await _read(context)) is not None:
            if session.push_key:
                raise Refused(Reason.BAD_STEP, "this hop takes its steps from the previous hop")
            await self._run_step(session, _step_of(frame))

    async def _run_step(self, session: ServerSession, data: bytes) -> None:
        """Run one step and pass its outputs on. A step that was seen before is dropped."""
        if session.ended.done():
            raise session.ended.result()
        if step_id_of(data) <= session.last_step_id:
            return
        step = read_step(data, session.contract, session.lengths)
        session.begin(step)
        try:
            done = await self._batcher.run(
                session.client,
                [Rows(session.caches[chunk.row], chunk.position, chunk.hidden) for chunk in step.chunks],
            )
        except (Refused, asyncio.CancelledError):
            raise
        except Exception as error:  # the engine's own failure, logged there; the session can't go on
            raise Refused(Reason.FAILED, f"this server could not compute the step: {error}") from error
        session.last_active = time.monotonic()
        times = step.times + hop_time(done.queue_seconds, done.compute_seconds)
        dtype = session.contract.wire_dtype
        if session.forwarder is None:
            hidden = select_outputs(done.outputs, step.outputs)
            await session.answer(pb.ServerFrame(result=pack_result(step.step_id, hidden, dtype, times)))
            return
        chunks = [
            RowChunk(chunk.row, chunk.position, output)
            for chunk, output in zip(step.chunks, done.outputs, strict=True)
        ]
        try:
            await session.forwarder.send(pack_step(step.step_id, chunks, step.outputs, dtype, times))
        except HopFailedError as error:
            notice = pb.Notice(kind=pb.Notice.NEXT_HOP_LOST, detail=str(error))
            await session.answer(pb.ServerFrame(notice=notice))
            raise Refused(Reason.NEXT_HOP_UNREACHABLE, str(error)) from error


async def _read(context: Context, seconds: float | None = None) -> Any:
    """The next frame, or None at the end of the stream."""
    if seconds is None:
        frame = await context.read()
        return None if frame is grpc.aio.EOF else frame
    try:
        async with asyncio.timeout(seconds):
            frame = await context.read()
    except TimeoutError as error:
        raise Refused(Reason.BAD_OPENING, f"nothing was sent for {seconds:.0f} s") from error
    return None if frame is grpc.aio.EOF else frame


def _step_of(frame: pb.ClientFrame | pb.PushFrame) -> bytes:
    if not frame.HasField("step"):
        raise Refused(Reason.BAD_STEP, "after the opening only steps are expected")
    return frame.step
