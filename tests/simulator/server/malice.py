"""Servers that boast, stall and lie: what a hostile one changes in the real handler and the batcher."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Literal

from p2pinfer.server.door.handler import Handler
from p2pinfer.types import LayerSeconds
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import Reason, Refused, errors_as_status

Malice = Literal[
    "",
    "five seconds",  # it announces almost no time, and takes five seconds a step
    "half a second",
    "hidden half",  # likewise, and reports no time
    "stalls",  # it takes steps, computes nothing, and answers all questions
    "never opens",  # it answers pings, and no opening
    "tiny steps",  # it takes no token in a step
    "says done",  # it computes nothing, and says that it has sent everything
    "to and fro",  # it computes nothing, and says by turns that it has computed, and that it has had nothing
    "from the future",  # it says that it has had steps that nobody has sent
    "drains for ever",  # it says that it leaves, again and again, and stays
    "babbles",  # it tells the same without end
    "bad opening",  # it finds every opening wrong
    "forgets",  # it knows no session when the first step has come
]
STALLERS = ("stalls", "says done", "to and fro", "from the future", "forgets")

STEP_SECONDS = {"five seconds": 5.0, "half a second": 0.5, "hidden half": 0.5}
BOASTED = LayerSeconds(1e-9)
BOASTED_ROOM = 2**40
_BABBLED_FRAMES = 2000
_DRAINS_SECONDS = 0.5


def step_seconds(malice: Malice) -> float | None:
    """How long a batch takes at such a server; None: as long as at an honest one."""
    return math.inf if malice in STALLERS else STEP_SECONDS.get(malice)


class HostileHandler(Handler):
    """The real handler, but for what its malice changes."""

    malice: Malice = ""
    _questions: int = 0

    async def Session(self, opening: pb.Opening, context: Any) -> None:
        if self.malice == "never opens":
            await asyncio.get_running_loop().create_future()
        if self.malice == "bad opening":
            async with errors_as_status(context):
                raise Refused(Reason.BAD_OPENING, "your clock is wrong")
        await super().Session(opening, _HostileContext(context, self.malice))

    async def Progress(self, request: pb.ProgressRequest, context: Any) -> pb.ProgressReply:
        reply = await super().Progress(request, context)
        if self.malice == "says done":
            reply.computed = reply.sent = reply.received
        self._questions += 1
        if self.malice == "to and fro":
            reply.computed = reply.received
            if self._questions % 2:
                reply.received = reply.computed = reply.sent = 0
        if self.malice == "from the future":
            reply.received = reply.computed = reply.sent = 2**40
        if self.malice == "forgets" and reply.received:
            async with errors_as_status(context):
                raise Refused(Reason.UNKNOWN_SESSION, "which session?")
        return reply


class _HostileContext:
    """Changes what the handler writes."""

    def __init__(self, context: Any, malice: Malice) -> None:
        self._context = context
        self._malice = malice
        self._drains: asyncio.Task[None] | None = None

    async def write(self, frame: pb.ServerFrame) -> None:
        if frame.HasField("opened") and self._malice == "tiny steps":
            frame.opened.max_step_tokens = 0
        await self._context.write(frame)
        if frame.HasField("opened") and self._malice == "drains for ever":
            self._drains = asyncio.get_running_loop().create_task(self._drain())
        if frame.HasField("opened") and self._malice == "babbles":
            for _ in range(_BABBLED_FRAMES):
                await self._context.write(pb.ServerFrame(outputs_lost=pb.OutputsLost(detail=self._text())))

    @staticmethod
    def _text() -> str:
        return "\x1b[2J" * 1000

    async def _drain(self) -> None:
        for _ in range(20):
            await self._context.write(pb.ServerFrame(draining=pb.Draining(seconds=60.0)))
            await asyncio.sleep(_DRAINS_SECONDS)

    async def abort(self, *arguments: Any, **words: Any) -> Any:
        if self._drains is not None:
            self._drains.cancel()
        return await self._context.abort(*arguments, **words)
