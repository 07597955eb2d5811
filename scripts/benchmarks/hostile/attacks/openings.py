"""Openings: of sessions that take all there is and give nothing back, and of such as are refused."""

from __future__ import annotations

import asyncio
import itertools
import os

from p2pinfer.identity import Identity
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.opening import KEY_BYTES, sign_opening
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.sessions import session_at, terms_for
from scripts.benchmarks.hostile.attacks.ways import channels_from

_KEEP_ALIVE_SECONDS = 2.0
_MOST_ROWS, _MOST_ROW_TOKENS, _PAGE_TOKENS = 256, 2048, 16


async def whole_cache(scene: Scene) -> None:
    """Each guest leases all the cache that is free, and changes its upstream so as not to look idle."""
    async with channels_from(scene.sources, scene.last) as channels:

        async def work(index: int) -> None:
            source = scene.source(index)
            reply = await InferenceStub(channels[source]).Ping(pb.PingRequest())
            free = reply.free_cache_tokens
            rows, tokens = largest_shape(free)
            if rows * tokens == 0:
                scene.tally.counts["nothing left"] += 1
                return
            async with session_at(
                channels[source], scene.last, source=source, rows=rows, tokens=tokens
            ) as session:
                scene.tally.counts["sessions"] += 1
                scene.tally.counts["tokens leased"] += rows * tokens
                while True:
                    request = pb.SetUpstreamRequest(session=session.ref, steps_key=os.urandom(KEY_BYTES))
                    await session.stub.SetUpstream(request)
                    await asyncio.sleep(_KEEP_ALIVE_SECONDS)

        await for_ever(scene, scene.number("guests"), work, rate=scene.numbers["rate"])


def largest_shape(free_tokens: int) -> tuple[int, int]:
    """The rows of a session, and the tokens of each, that leave the least of the free cache.

    >>> largest_shape(65_536), largest_shape(100), largest_shape(15)
    ((256, 256), (6, 16), (0, 16))
    """
    shapes = (
        (min(_MOST_ROWS, free_tokens // tokens), tokens)
        for tokens in range(_PAGE_TOKENS, _MOST_ROW_TOKENS + 1, _PAGE_TOKENS)
    )
    return max(shapes, key=lambda shape: shape[0] * shape[1])


async def all_sessions(scene: Scene) -> None:
    """A few keys open as many sessions as they get, and keep them."""
    keys = [Identity.ephemeral() for _ in range(scene.number("keys"))]
    async with channels_from(scene.sources, scene.last) as channels:

        async def work(index: int) -> None:
            source = scene.source(index)
            key = keys[index % len(keys)]
            async with session_at(channels[source], scene.last, source=source, client=key) as session:
                scene.tally.counts["sessions"] += 1
                while await session.call.read():  # raises when the server ends it
                    pass

        await for_ever(scene, scene.number("sessions"), work, rate=scene.numbers["rate"])


async def pings(scene: Scene) -> None:
    """Pings, and questions about sessions that aren't there."""
    async with channels_from(scene.sources, scene.last) as channels:

        async def work(index: int) -> None:
            stub = InferenceStub(channels[scene.source(index)])
            await stub.Ping(pb.PingRequest())
            scene.tally.counts["pings"] += 1
            await stub.Progress(pb.ProgressRequest(session=pb.SessionRef(session_id=os.urandom(16))))

        await for_ever(scene, scene.number("guests"), work, rate=scene.numbers["rate"])


async def log_flood(scene: Scene) -> None:
    """Openings and calls that fail in every way, so that each might leave a line in the log."""
    numbers = itertools.count()
    async with channels_from(scene.sources, scene.last) as channels:

        async def work(index: int) -> None:
            source = scene.source(index)
            stub = InferenceStub(channels[source])
            terms = terms_for(scene.last, rows=1, tokens=16)
            number = next(numbers) % 6
            opening = sign_opening(terms, Identity.ephemeral())
            if number == 0:
                opening.signature = os.urandom(64)
            elif number == 1:
                opening = pb.Opening(terms=os.urandom(200), client_public_key=os.urandom(36))
            elif number == 2:
                terms.ClearField("results_key")
                terms.downstream.session_id = os.urandom(16)
                terms.downstream.steps_key = os.urandom(KEY_BYTES)
                terms.downstream.record = os.urandom(800)
                opening = sign_opening(terms, Identity.ephemeral())
            elif number == 3:
                path = "/p2pinfer.wire.Inference/Session"
                call = channels[source].unary_stream(path)(os.urandom(1000))
                await call.read()
                return
            elif number == 4:
                await stub.Settle(pb.SettleRequest(session=pb.SessionRef(session_id=os.urandom(16))))
            else:  # a session that is taken, and ends at once
                async with session_at(channels[source], scene.last, source=source):
                    return
            call = stub.Session(opening)
            await call.read()

        await for_ever(scene, scene.number("guests"), work, rate=scene.numbers["rate"])
