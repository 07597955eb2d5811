"""Receipts that fill the server's disk: long ones, and very many."""

from __future__ import annotations

import asyncio
import os

from p2pinfer.identity import Identity
from p2pinfer.wire.hello import Role
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.step_kind import StepKind
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.sessions import session_at, step
from scripts.benchmarks.hostile.attacks.ways import channels_from

_TRIES, _TRY_SECONDS = 20, 0.1


async def receipts(scene: Scene) -> None:
    """Sessions of one token, each signed for; `padding` bytes in each receipt; new keys, or one."""
    one_key = Identity.ephemeral() if scene.numbers.get("one key") else None
    frame = step(scene.hidden_size, 1, StepKind.PREFILL, [(0, 0)], 1)
    padding = os.urandom(scene.number("padding"))
    async with channels_from(scene.sources, scene.last) as channels:

        async def work(index: int) -> None:
            source = scene.source(index)
            async with session_at(
                channels[source], scene.last, source=source, client=one_key, tokens=1
            ) as session:
                lane = await session.lane(Role.STEPS)
                try:
                    lane.send(frame)
                    scene.tally.counts["sessions"] += 1
                    await asyncio.sleep(_TRY_SECONDS)
                finally:
                    lane.close()
            for _ in range(_TRIES):
                if await session.settle(Work(prefill_tokens=1), padding=padding):
                    scene.tally.counts["receipts taken"] += 1
                    scene.tally.counts["bytes taken"] += len(padding) + 300
                    return
                await asyncio.sleep(_TRY_SECONDS)

        await for_ever(scene, scene.number("guests"), work, rate=scene.numbers["rate"])
