"""Strangers open sessions, and send frames to their last byte but one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import numpy as np

from p2pinfer.identity import Identity
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.frames.frame_room import frame_bound
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.lane_handshake import lane_to
from p2pinfer.wire.lanes import Lane, ready
from p2pinfer.wire.opening import sign_opening
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, RowChunk, pack_step
from p2pinfer.wire.tensors import hidden_bytes

SESSIONS, TOKENS = 96, 512
SLACK_BYTES = 32 << 20
"""What sessions, connections and their libraries take, and what differs from run to run."""


@dataclass(frozen=True)
class Target:
    """A server, and its announcement."""

    process: ServerProcess
    record: Announcement
    layers: int
    hidden_size: int

    @property
    def resident_bytes(self) -> int:
        with open(f"/proc/{self.process.pid}/statm") as words:
            return int(words.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def target(swarm: LocalSwarm, store: LayerStore) -> AsyncIterator[Target]:
    """The only server of a swarm."""
    async with Swarm.join(
        swarm.initial_peers, Identity.ephemeral(), listen_maddrs=["/ip4/127.0.0.1/tcp/0"]
    ) as member:
        async with asyncio.timeout(30):
            while not (records := await member.servers(store.manifest.hash)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        (process,) = swarm.servers
        yield Target(process, records[0], store.manifest.num_layers, store.manifest.hidden_size)


async def open_lanes(stack: AsyncExitStack, target: Target, sessions: int) -> list[Lane]:
    """Sessions of as many keys as it takes, and their lanes of steps."""
    record, lanes = target.record, []
    for number in range(sessions):
        if number % 16 == 0:
            key, pool = Identity.ephemeral(), ChannelPool()
            stack.push_async_callback(pool.close)
            stub = InferenceStub(await stack.enter_async_context(pool.connected(record.address)))
        terms = pb.Terms(
            session_id=os.urandom(16),
            server=record.peer_id,
            model=record.model,
            numerics=record.numerics,
            end_layer=target.layers,
            rows=1,
            max_tokens=TOKENS,
            issued_at=time.time(),
            **{f"{name}_key": os.urandom(32) for name in ("steps", "control", "results")},
        )
        call = stub.Session(sign_opening(terms, key))
        stack.callback(call.cancel)
        try:
            if await call.read() is grpc.aio.EOF:
                continue
        except grpc.aio.AioRpcError:  # refused: then it takes nothing
            continue
        lane = await stack.enter_async_context(lane_to(record.address, None, 10.0))
        stack.callback(lane.close)
        lane.send(Hello(Role.STEPS, terms.session_id, terms.steps_key).pack())
        lanes.append(lane)
    return lanes


async def push_half(lane: Lane, frame: bytes) -> None:
    """Send all but the last byte, as far as the server takes it, until it closes the lane."""
    lane._unsent = len(frame).to_bytes(4, "little") + frame[:-1]
    with contextlib.suppress(OSError):
        while not lane.flush():
            await ready(lane, "write")


async def peak_growth(target: Target, before: int, work: asyncio.Future[object], seconds: float) -> int:
    """By how much the server grows at most, until the work is done or the time is over."""
    peak = target.resident_bytes
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not work.done():
                await asyncio.sleep(0.1)
                peak = max(peak, target.resident_bytes)
    return peak - before


async def returned(target: Target, before: int) -> bool:
    """Wait until the server has given back what it took, for half a minute at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while target.resident_bytes > before + SLACK_BYTES // 2:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
            return True
    return False


async def test_what_half_frames_hold_is_bounded_and_comes_back(smollm2: LayerStore):
    """Without a bound 96 sessions take 110 MB, and glibc keeps it."""
    hidden_size = smollm2.manifest.hidden_size
    bound = frame_bound(hidden_bytes(TOKENS, hidden_size, pb.FLOAT32))
    hidden = np.ones((TOKENS, hidden_size), np.float32)
    step = pack_step(1, StepKind.PREFILL, [RowChunk(0, 0, hidden)], Outputs.ALL, pb.FLOAT32)
    assert SESSIONS * len(step) > bound.in_all + 2 * SLACK_BYTES
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, smollm2.manifest.num_layers)], threads=1)
        async with target(swarm, smollm2) as server:
            before = server.resident_bytes
            async with AsyncExitStack() as stack:
                lanes = await open_lanes(stack, server, SESSIONS)
                assert len(lanes) > 20, "most were refused: the test shows nothing"
                pushed = asyncio.gather(*(push_half(lane, step) for lane in lanes))
                grown = await peak_growth(server, before, pushed, 10)
                pushed.cancel()
            assert grown < bound.in_all + SLACK_BYTES
            assert await returned(server, before)
