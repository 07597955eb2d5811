"""Frames that never end: the server keeps what has come of each."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct

from p2pinfer.identity import Identity
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Role
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.steps import MAX_STEP_TOKENS
from p2pinfer.wire.tensors import hidden_bytes
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.sessions import Session, session_at
from scripts.benchmarks.hostile.attacks.ways import channels_from

_PER_KEY = 100
_PIECE_BYTES = 64 * 1024
_PAUSE_SECONDS = 0.02
_LOOK_SECONDS = 0.5
_HELD_BACK_BYTES = 1000


async def half_frames(scene: Scene) -> None:
    """Sessions of `tokens` tokens: each announces a step of 512 tokens, sends all but its end, and waits."""
    guests = scene.number("guests")
    keys = [Identity.ephemeral() for _ in range(guests // _PER_KEY + 1)]
    length = hidden_bytes(MAX_STEP_TOKENS, scene.hidden_size, pb.FLOAT32)
    half = struct.pack("<I", length) + bytes(length - _HELD_BACK_BYTES)
    async with channels_from(scene.sources, scene.last) as channels:

        async def work(index: int) -> None:
            source = scene.source(index)
            async with session_at(
                channels[source],
                scene.last,
                source=source,
                client=keys[index % len(keys)],
                tokens=scene.number("tokens"),
            ) as session:
                scene.tally.counts["sessions"] += 1
                with contextlib.closing(await session.lane(Role.STEPS)) as lane:
                    await _send_slowly(scene, lane, half)
                    await _until_end(session, lane)

        await for_ever(scene, guests, work, rate=scene.numbers["rate"])


async def _send_slowly(scene: Scene, lane: Lane, data: bytes) -> None:
    """Send bytes beside the lane's own frames, which are always whole. Raises OSError."""
    sock, unsent = lane._socket, memoryview(data)
    while unsent:
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = sock.send(unsent[:_PIECE_BYTES])
            unsent = unsent[sent:]
            scene.tally.counts["bytes sent"] += sent
        await asyncio.sleep(_PAUSE_SECONDS)


async def _until_end(session: Session, lane: Lane) -> None:
    """Wait until the server ends it. Raises AioRpcError, or what the lane raises."""
    while True:
        if session.call.done():
            await session.call.read()
            return
        lane.receive()
        await asyncio.sleep(_LOOK_SECONDS)
