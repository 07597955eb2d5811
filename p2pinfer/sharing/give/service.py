"""The gRPC service by which other peers get a model's manifest, and the chunks that lie on this disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.backoff import Chance
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.give.allowance import Gate
from p2pinfer.sharing.give.answers import Answers, Pace
from p2pinfer.sharing.give.choice import Choice
from p2pinfer.sharing.give.turns import Places, Turns
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.manifest_summary import ManifestSummary
from p2pinfer.threads import in_thread
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.sharing_pb2_grpc import SharingServicer
from p2pinfer.wire.status import Reason, Refused, errors_as_status

Context = Any
"""grpc.aio.ServicerContext, whose generics exist for type checkers only."""

PART_BYTES = 32 * 1024
MANIFEST_PART_BYTES = 48 * 1024

_NUMBERS_AT_ONCE = 4096
_WAITING = pb.ChunkPart()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What strangers may take. Beyond it they are told to come back."""

    sending: int = 4  # chunks at a time: few, so that each arrives soon, and can be passed on
    waiting: int = 256
    manifests: int = 4
    watchers: int = 128
    waiting_seconds: float = 60.0
    least_bytes_per_second: float = 32 * 1024  # a slower peer loses its turn, if others wait for one
    slow_seconds: float = 10.0  # so much longer it may take
    stall_seconds: float = 20.0  # a peer that takes nothing for so long loses its turn
    pulse_seconds: float = 5.0
    retry_seconds: float = 5.0
    news_seconds: float = 0.2  # what comes within this time is told at once


class SharingService(SharingServicer):
    """Gives on what this peer holds of one model, as far as `gate` allows. An event-loop object."""

    def __init__(
        self,
        store: LayerStore,
        holdings: Holdings,
        gate: Gate,
        *,
        limits: Limits | None = None,
        chance: Chance = random.random,
    ) -> None:
        self._store = store
        self._holdings = holdings
        self._gate = gate
        self._limits = limits = limits or Limits()
        self._choice = Choice(holdings.chunks.total, chance)
        self._chunk_turns = Turns(
            limits.sending, limits.waiting, limits.waiting_seconds, limits.retry_seconds
        )
        self._manifest_turns = Turns(
            limits.manifests, limits.waiting, limits.waiting_seconds, limits.retry_seconds
        )
        self._watchers = Places(limits.watchers, limits.retry_seconds)
        self._manifest: asyncio.Task[bytes] | None = None

    @property
    def times_sent(self) -> NDArray[np.uint32]:
        """How often each chunk was sent: [chunks of the model]."""
        return self._choice.times_sent

    async def GetManifest(self, request: pb.ManifestRequest, context: Context) -> None:
        """Send the manifest's text, or its summary's."""
        async with errors_as_status(context):
            self._check_model(request.model or self._store.manifest.hash)
            answers = self._answers(context)
            if request.summary:
                text = ManifestSummary.of(self._store.manifest).to_json()
                await answers.write(pb.ManifestPart(data=text.encode()))
                return
            async with self._sending(self._manifest_turns):
                data = memoryview(await self._manifest_text())
                for start in range(0, len(data), MANIFEST_PART_BYTES):
                    part = bytes(data[start : start + MANIFEST_PART_BYTES])
                    await self._give(pb.ManifestPart(data=part), len(part), answers, self._manifest_turns)

    async def WatchHoldings(self, request: pb.HoldingsRequest, context: Context) -> None:
        """Tell what is held, and what comes, until the peer ends the call."""
        async with errors_as_status(context):
            self._check_model(request.model)
            await self._watchers.take(self._tell(self._answers(context)))

    async def _tell(self, answers: Answers) -> None:
        told = self._holdings.added
        for first, held in list(bitmaps.pack_all(self._holdings.held)):
            await answers.write(pb.Holdings(first=first, held=held))
        while True:
            more = await self._holdings.more_than(told)
            told += len(more)
            for start in range(0, len(more), _NUMBERS_AT_ONCE):
                numbers = pb.Numbers(numbers=more[start : start + _NUMBERS_AT_ONCE])
                await answers.write(pb.Holdings(more=numbers))
            await asyncio.sleep(self._limits.news_seconds)

    async def GetChunk(self, request: pb.ChunkRequest, context: Context) -> None:
        """Send the wanted chunk that was sent least often."""
        async with errors_as_status(context):
            self._check_model(request.model)
            wanted = bitmaps.unpack(request.wanted, request.first, self._holdings.chunks.total)
            answers = self._answers(context)
            async with answers.pulse(_WAITING, self._limits.pulse_seconds):
                async with self._sending(self._chunk_turns):
                    number = self._choice.pick(wanted & self._holdings.held)
                    if number is None:
                        raise Refused(Reason.NOT_HELD, "none of the wanted chunks is here")
                    with self._choice.sending(number):
                        await self._send(number, answers)

    async def _send(self, number: int, answers: Answers) -> None:
        data = await self._holdings.read(number)
        if data is None:
            raise Refused(Reason.NOT_HELD, "the chunk was damaged on this disk")
        view = memoryview(data)
        for start in range(0, len(view), PART_BYTES):
            part = bytes(view[start : start + PART_BYTES])
            message = pb.ChunkPart(chunk=0 if start else number, data=part)
            await self._give(message, len(part), answers, self._chunk_turns)

    async def _give(self, message: Any, size_bytes: int, answers: Answers, turns: Turns) -> None:
        """Send a part when the owner's limits allow it. What the peer didn't take doesn't count.

        Who reads slowly may do so for as long as nobody waits for the turn.
        """
        await self._gate.wait_to_send(size_bytes)
        try:
            await answers.write(message, size_bytes if turns.waiting else None)
        except BaseException:
            self._gate.not_sent(size_bytes)
            raise
        self._gate.sent(size_bytes)

    @asynccontextmanager
    async def _sending(self, turns: Turns) -> AsyncIterator[None]:
        """Have a turn, if the owner gives anything at all now. Raises Refused."""
        if refused := self._gate.may_begin():
            raise refused
        async with turns.taken():
            if refused := self._gate.may_begin():  # the wait may have been long
                raise refused
            yield

    def _answers(self, context: Context) -> Answers:
        limits = self._limits
        return Answers(
            context, limits.stall_seconds, Pace(limits.least_bytes_per_second, limits.slow_seconds)
        )

    def _check_model(self, model: str) -> None:
        ours = self._store.manifest.hash
        if model != ours:
            raise Refused(Reason.WRONG_MODEL, f"this peer has the model {ours}")

    async def _manifest_text(self) -> bytes:
        """The text of a large model's manifest takes a second to make, so it is made once."""
        if self._manifest is None:
            manifest = self._store.manifest
            self._manifest = asyncio.create_task(in_thread(lambda: manifest.to_json().encode()))
        return await asyncio.shield(self._manifest)
