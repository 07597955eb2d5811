"""A client of sessions that works on the wire: tests choose every call and every byte."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from p2pinfer.errors import HopFailedError, RefusedError
from p2pinfer.identity import Identity
from p2pinfer.types import Address, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.lane_handshake import lane_to
from p2pinfer.wire.lanes import Lane, ready
from p2pinfer.wire.opening import sign_opening
from p2pinfer.wire.status import refusal_of
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, RowChunk, max_result_bytes, pack_step, read_result, step_id_of
from tests.fakes import HIDDEN_SIZE, MODEL, FakeServer, FakeSwarm, Hidden

SECONDS = 20.0
"""The time limit of every wait: waits end much sooner, or the test has failed."""


@dataclass(slots=True)
class HopSession:
    """The client's end of a session at one hop."""

    member: FakeServer
    stub: Any
    id: bytes
    control_key: bytes
    steps_key: bytes
    results_key: bytes
    call: Any
    opened: pb.Opened | None = None

    @property
    def ref(self) -> pb.SessionRef:
        return pb.SessionRef(session_id=self.id, control_key=self.control_key)

    def downstream(self, steps_key: bytes | None = None, *, pass_history_on: bool = False) -> pb.Downstream:
        """The description that another hop needs in order to send here."""
        return pb.Downstream(
            record=self.member.record().record,
            session_id=self.id,
            steps_key=steps_key or self.steps_key,
            pass_history_on=pass_history_on,
        )

    async def frame(self) -> pb.ServerFrame:
        """The next frame. Raises RefusedError or HopFailedError when the session has ended."""
        async with asyncio.timeout(SECONDS):
            try:
                frame = await self.call.read()
            except grpc.aio.AioRpcError as error:
                raise self._error(error) from error
            if frame is grpc.aio.EOF:
                code, details = await self.call.code(), await self.call.details()
                trailing = await self.call.trailing_metadata()
                raise self._error(grpc.aio.AioRpcError(code, None, trailing, details))
            return frame

    async def caught_up(self, tokens: int) -> None:
        """Wait until `tokens` tokens of the history are in the caches."""
        while (await self.frame()).caught_up.tokens < tokens:
            pass

    async def set_upstream(self, steps_key: bytes, *, at_once: bool) -> None:
        request = pb.SetUpstreamRequest(session=self.ref, steps_key=steps_key, at_once=at_once)
        await self._answer(self.stub.SetUpstream(request))

    async def set_downstream(
        self, downstream: pb.Downstream, *, held: Sequence[int] = (), switch: bool = True
    ) -> int:
        request = pb.SetDownstreamRequest(session=self.ref, downstream=downstream, held=held, switch=switch)
        return (await self._answer(self.stub.SetDownstream(request))).tokens

    async def progress(self) -> pb.ProgressReply:
        return await self._answer(self.stub.Progress(pb.ProgressRequest(session=self.ref)))

    async def _answer(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(SECONDS):
                return await call
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error

    def _error(self, error: grpc.aio.AioRpcError) -> Exception:
        if (refused := refusal_of(error)) is None:
            return HopFailedError(self.member.peer_id, f"{error.code()} {error.details()}")
        reason, detail = refused.reason, refused.detail
        return RefusedError(self.member.peer_id, reason, detail, refused.retry_after_seconds)


class WireClient:
    """Opens sessions and lanes; made by `wire_client`, which closes them all."""

    def __init__(self, stack: AsyncExitStack, pool: ChannelPool, identity: Identity) -> None:
        self.openings: list[pb.Opening] = []
        self._stack = stack
        self._pool = pool
        self.identity = identity

    async def stub(self, member: FakeServer) -> Any:
        channel = await self._stack.enter_async_context(self._pool.connected(address_of(member)))
        return InferenceStub(channel)

    async def open(
        self,
        member: FakeServer,
        outputs: pb.Downstream | None = None,
        *,
        layers: Span | None = None,
        **terms: Any,
    ) -> HopSession:
        """Open a session whose outputs go to another session, or (None) to us. Raises RefusedError."""
        layers = layers or member.engine.span
        usual = {
            "session_id": os.urandom(16),
            "server": member.peer_id,
            "model": MODEL,
            "numerics": "fake-1",
            "first_layer": layers.start,
            "end_layer": layers.end,
            "rows": 1,
            "max_tokens": 64,
            "issued_at": time.time(),
            "steps_key": os.urandom(32),
            "control_key": os.urandom(32),
        }
        if outputs is None:
            usual["results_key"] = os.urandom(32)
        else:
            usual["downstream"] = outputs
        signed = pb.Terms(**usual | terms)
        opening = sign_opening(signed, self.identity)
        self.openings.append(opening)
        stub = await self.stub(member)
        call = stub.Session(opening)
        self._stack.callback(call.cancel)
        session = HopSession(
            member,
            stub,
            signed.session_id,
            signed.control_key,
            signed.steps_key,
            signed.results_key,
            call,
        )
        session.opened = (await session.frame()).opened
        return session

    async def lane(self, member: FakeServer, hello: Hello | None = None) -> Lane:
        """A lane to a server, after its hello."""
        lane = await self._stack.enter_async_context(lane_to(address_of(member), None, 2.0))
        self._stack.callback(lane.close)
        if hello is not None:
            lane.send(hello.pack())
        return lane

    async def steps_lane(self, session: HopSession, key: bytes | None = None) -> Lane:
        return await self.lane(session.member, Hello(Role.STEPS, session.id, key or session.steps_key))

    async def results_lane(self, session: HopSession) -> Lane:
        """A lane that carries results from now on: no later result goes to the lane before it."""
        served = session.member.open_session(session.id)
        former = served and served.outputs
        lane = await self.lane(session.member, Hello(Role.RESULTS, session.id, session.results_key))
        await until(lambda: served is None or served.outputs is not former)
        lane.max_frame_bytes = max_result_bytes(512, 8, HIDDEN_SIZE, pb.FLOAT32)
        return lane

    async def route(
        self, *members: FakeServer, spans: Sequence[Span] = (), wire_dtype: pb.WireDtype = 0, **terms: Any
    ) -> Route:
        """A session at every member, each sending to the next, and lanes to the first and from the last."""
        hops: list[HopSession] = []
        layers = list(spans) or [member.engine.span for member in members]
        for member, span in reversed(list(zip(members, layers, strict=True))):
            after = hops[0].downstream() if hops else None
            hops.insert(0, await self.open(member, after, layers=span, wire_dtype=wire_dtype, **terms))
        steps, results = await self.steps_lane(hops[0]), await self.results_lane(hops[-1])
        return Route(hops, steps, results, wire_dtype)


@dataclass(slots=True)
class Route:
    """Hops in order; tests replace them."""

    hops: list[HopSession]
    steps: Lane
    results: Lane
    wire_dtype: pb.WireDtype = pb.FLOAT32
    ids: itertools.count = field(default_factory=lambda: itertools.count(1))

    async def send(self, chunks: Sequence[RowChunk], outputs: Outputs = Outputs.ALL) -> int:
        """A decode step if every row brings one token, else a prefill step."""
        step_id = next(self.ids)
        kind = StepKind.DECODE if all(len(chunk.hidden) == 1 for chunk in chunks) else StepKind.PREFILL
        await send(self.steps, pack_step(step_id, kind, chunks, outputs, self.wire_dtype))
        return step_id

    async def receive(self, step_id: int, tokens: int) -> Hidden:
        """The result of this step; late results of earlier steps are skipped."""
        while step_id_of(frame := await receive(self.results)) < step_id:
            pass
        hops, dtype = len(self.hops), self.wire_dtype
        result = read_result(frame, tokens=tokens, hops=hops, hidden_size=HIDDEN_SIZE, dtype=dtype)
        assert result.step_id == step_id
        return result.hidden

    async def exchange(self, chunks: Sequence[RowChunk], outputs: Outputs, tokens: int) -> Hidden:
        return await self.receive(await self.send(chunks, outputs), tokens)

    async def send_row(self, hidden: Hidden, position: int) -> None:
        """Send one step of the first row, and wait for nothing."""
        await self.send([RowChunk(0, position, hidden)])

    async def send_and_wait(self, hidden: Hidden, position: int) -> None:
        """Send one step of the first row, and wait until the session ends. Raises RefusedError."""
        await self.send_row(hidden, position)
        while True:
            await self.hops[0].frame()

    async def run(self, hidden: Hidden, position: int, row: int = 0) -> Hidden:
        """Send one step of one row and return its result."""
        return await self.exchange([RowChunk(row, position, hidden)], Outputs.ALL, len(hidden))


@asynccontextmanager
async def wire_client(
    identity: Identity | None = None, pool: ChannelPool | None = None
) -> AsyncIterator[WireClient]:
    async with AsyncExitStack() as stack:
        if pool is None:
            pool = ChannelPool(connect_seconds=2.0)
            stack.push_async_callback(pool.close)
        yield WireClient(stack, pool, identity or Identity.ephemeral())


@asynccontextmanager
async def opened(swarm: FakeSwarm, *spans: Span, identity: Identity | None = None, **terms: Any):
    """A route through all members of the swarm, with their whole spans unless others are given."""
    async with wire_client(identity) as client:
        yield await client.route(*swarm.members, spans=spans, **terms)


async def send(lane: Lane, frame: bytes) -> None:
    """Send all of it."""
    sent = lane.send(frame)
    async with asyncio.timeout(SECONDS):
        while not sent:
            await ready(lane._socket, "write")
            sent = lane.flush()


async def receive(lane: Lane) -> bytes:
    """Wait for a frame. Raises EOFError or OSError when the lane is closed."""
    async with asyncio.timeout(SECONDS):
        while (frame := lane.receive()) is None:
            await ready(lane._socket, "read")
    return frame


async def is_closed(lane: Lane) -> bool:
    """Wait for the server to close the lane; False if it sends something instead."""
    try:
        await receive(lane)
    except (EOFError, OSError):
        return True
    return False


def address_of(member: FakeServer) -> Address:
    record = member.record()
    return record.address


async def until(condition, seconds: float = SECONDS) -> None:
    """Let the loop run until the condition holds; fails after a limit instead of hanging."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  there is no event for "all is free"
            await asyncio.sleep(0.005)


ONE = np.ones((1, HIDDEN_SIZE), np.float32)
