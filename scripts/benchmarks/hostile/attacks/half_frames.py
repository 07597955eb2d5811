"""Frames that never end: the server keeps what has come of each."""

from __future__ import annotations

import asyncio
import ssl
import struct

from p2pinfer.identity import Identity
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Role
from p2pinfer.wire.steps import MAX_STEP_TOKENS
from p2pinfer.wire.tensors import hidden_bytes
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.sessions import session_at
from scripts.benchmarks.hostile.attacks.ways import channels_from

_PIECE_BYTES = 64 * 1024
_PER_KEY = 100
_PAUSE_SECONDS = 0.02
_LOOK_SECONDS = 0.5


async def half_frames(scene: Scene) -> None:
    """Sessions of `tokens` tokens: each announces a step of 512 tokens, sends all but its end, and waits."""
    guests = scene.number("guests")
    keys = [Identity.ephemeral() for _ in range(guests // _PER_KEY + 1)]
    length = hidden_bytes(MAX_STEP_TOKENS, scene.hidden_size, pb.FLOAT32)
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
                lane = await session.lane(Role.STEPS)
                sock = lane._socket  # half a frame is what a lane itself never sends
                try:
                    unsent = memoryview(struct.pack("<I", length) + bytes(length - 1000))
                    while unsent:
                        try:
                            sent = sock.send(unsent[:_PIECE_BYTES])
                        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                            sent = 0
                        unsent = unsent[sent:]
                        scene.tally.counts["bytes sent"] += sent
                        await asyncio.sleep(_PAUSE_SECONDS)
                    while True:
                        lane.receive()  # raises when the server ends it
                        if session.call.done():
                            await session.call.read()
                            return
                        await asyncio.sleep(_LOOK_SECONDS)
                finally:
                    lane.close()

        await for_ever(scene, guests, work, rate=scene.numbers["rate"])
