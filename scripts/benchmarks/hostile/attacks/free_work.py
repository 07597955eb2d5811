"""Work for keys that never come back: unsigned, or signed for by keys that nobody will ever pay."""

from __future__ import annotations

import asyncio
import itertools

from p2pinfer.tasks import first_of
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import MAX_STEP_TOKENS
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.sessions import Session, lanes_of, result, session_at, step
from scripts.benchmarks.hostile.attacks.ways import channels_from

_ROWS = 8
_DECODE_TOKENS = 64  # a row's cache: then its positions begin anew
_UNDER_WAY = 2


async def free_work(scene: Scene) -> None:
    """Sessions that compute until a receipt is due; with `signs`, they sign and go on."""
    async with channels_from(scene.sources, scene.last) as channels:

        async def work(index: int) -> None:
            decodes = bool(scene.numbers.get("decodes"))
            rows, tokens = (_ROWS, _DECODE_TOKENS) if decodes else (1, MAX_STEP_TOKENS)
            source = scene.source(index)
            async with session_at(
                channels[source], scene.last, source=source, rows=rows, tokens=tokens
            ) as session:
                scene.tally.counts["sessions"] += 1
                listening = session.sign_forever() if scene.numbers.get("signs") else _until_due(session)
                await first_of(listening, _compute(scene, session, decodes=decodes))

        await for_ever(scene, scene.number("guests"), work, rate=scene.numbers["rate"])


async def _until_due(session: Session) -> None:
    """Return when the server wants a signature: this guest leaves, and comes back with another key."""
    while frame := await session.call.read():
        if frame.WhichOneof("body") == "receipt_due":
            return


async def _compute(scene: Scene, session: Session, *, decodes: bool) -> None:
    """Steps without pause, two under way. Raises OSError, EOFError."""
    async with lanes_of(session) as (steps, results):
        under_way = 0
        for number in itertools.count(1):
            if decodes:
                position = (number - 1) % _DECODE_TOKENS
                rows = [(row, position) for row in range(_ROWS)]
                frame, tokens = step(scene.hidden_size, number, StepKind.DECODE, rows, 1), _ROWS
            else:
                frame = step(scene.hidden_size, number, StepKind.PREFILL, [(0, 0)], MAX_STEP_TOKENS)
                tokens = MAX_STEP_TOKENS
            sent = steps.send(frame)
            while not sent:
                await asyncio.sleep(0.005)
                sent = steps.flush()
            under_way += 1
            if under_way == _UNDER_WAY:
                await result(results)
                under_way -= 1
                scene.tally.counts["tokens"] += tokens
