"""A session at one server: its keys, its call, and what the server has said on the call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from p2pinfer.client.chain.diagnosis import HopProgress
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.pace.hop_pace import HopPace
from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.pay.settlement import Settlement
from p2pinfer.client.pay.tally import Tally
from p2pinfer.client.reach.carrier import Carrier, HopCall
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.client.trust.frames import Allowance
from p2pinfer.errors import HopFailedError, HopLiedError, HopStalledError, P2PInferError, RefusedError
from p2pinfer.plain_text import foreign
from p2pinfer.tasks import ending
from p2pinfer.types import SESSION_ID_BYTES, PeerId, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.opening import KEY_BYTES, sign_opening, way_said
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.step_kind import StepKind

OPENING_SECONDS = 2.0
"""For an opening."""

_DIALLING_SECONDS = 6.0
"""For an opening during which the server dials the next hop: 4 s at most, of which it needs more than a
moment only where a tunnel leads there."""

_LEAST_STEP_TOKENS = 16
"""A server that takes less in a step would make a prompt of thousands of tokens as many round trips."""

_PROBE_SECONDS = 1.2
_PROBE_ROUND_TRIPS = 4
_REASON_SECONDS = 0.5


@dataclass(slots=True, eq=False, weakref_slot=True)
class Hop:
    """One server's part of a chain. The session id and the keys are for this opening alone."""

    server: HopServer
    carrier: Carrier
    session_id: bytes = field(default_factory=lambda: os.urandom(SESSION_ID_BYTES))
    control_key: bytes = field(default_factory=lambda: os.urandom(KEY_BYTES))
    steps_key: bytes = field(default_factory=lambda: os.urandom(KEY_BYTES))
    results_key: bytes = field(default_factory=lambda: os.urandom(KEY_BYTES))
    max_step_tokens: int = 1
    failure: P2PInferError | None = None
    outputs_lost: str | None = None
    draining: bool = False
    draining_seconds: float = 0.0  # after which it leaves, as it says itself
    next_is_direct: bool = True  # the next hop of the route announces an endpoint
    next_hop_way: Way | None = None  # how its outputs reach the next hop, as it says itself
    looks: int = 0  # for another server, because this one held a step for too long
    caught_up: int = 0  # tokens of history that it has computed
    step_count: int = 0
    queue_seconds: float = 0.0  # sum over these steps
    compute_seconds: float = 0.0  # sum over these steps
    pace: HopPace = field(default_factory=HopPace)
    tally: Tally = field(default_factory=Tally)
    _said: tuple[int, HopProgress] | None = None  # a step that was waited for, and what the hop said of it
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def peer_id(self) -> PeerId:
        """The server's peer id."""
        return self.server.hop.peer_id

    @property
    def ref(self) -> pb.SessionRef:
        """What names the session to its server, and proves that the client may control it."""
        return pb.SessionRef(session_id=self.session_id, control_key=self.control_key)

    def downstream(self, *, pass_history_on: bool) -> pb.Downstream:
        """Return what the hop before needs to send its outputs here."""
        return pb.Downstream(
            record=self.server.record.record,
            session_id=self.session_id,
            steps_key=self.steps_key,
            pass_history_on=pass_history_on,
        )

    @asynccontextmanager
    async def open(
        self,
        shape: SessionShape,
        payer: Payer,
        downstream: pb.Downstream | None,
        on_news: Callable[[], None],
    ) -> AsyncIterator[None]:
        """Keep the session open for as long as the block lasts. Without `downstream` it is the last hop.

        `on_news` is called, in the event loop, when the server has said something or its call has ended.
        Raises RefusedError or HopFailedError if the server does not take the session.
        """
        opening = sign_opening(self._terms(shape, downstream), payer.identity)
        settlement = Settlement(payer, self.carrier, self.server, self.ref, self.tally)
        async with AsyncExitStack() as session:
            call = await session.enter_async_context(self.carrier.open(self.server.address, opening))
            frame = await self._first_frame(call, downstream)
            if not frame.HasField("opened"):
                raise HopLiedError(self.peer_id, "it did not answer the opening")
            self.max_step_tokens = frame.opened.max_step_tokens
            if self.max_step_tokens < _LEAST_STEP_TOKENS:
                raise HopLiedError(self.peer_id, f"it takes steps of {self.max_step_tokens} tokens at most")
            self.next_hop_way = way_said(frame.opened.next_hop_way)
            try:
                async with ending(asyncio.create_task(self._listen(call, settlement, on_news))):
                    yield
            finally:
                await session.aclose()  # frees the server's memory; the last receipt may come later
                if not isinstance(self.failure, HopFailedError):
                    settlement.settle_all_soon()

    def count(self, kind: StepKind, queue_seconds: float, compute_seconds: float) -> None:
        """Count a step that went through this hop. Its pace is measured by decode steps, which are alike."""
        self.step_count += 1
        self.queue_seconds += queue_seconds
        self.compute_seconds += compute_seconds
        if kind is StepKind.DECODE:
            self.pace.add(queue_seconds + compute_seconds)

    async def progress(self) -> HopProgress | None:
        """Ask how far the hop is; None if it doesn't answer in time. Raises HopFailedError, RefusedError."""
        request = pb.ProgressRequest(session=self.ref)
        try:
            async with asyncio.timeout(self._probe_seconds):
                reply = await self.carrier.progress(self.server.address, request)
        except TimeoutError:
            return None
        return HopProgress(received=reply.received, computed=reply.computed, sent=reply.sent)

    def takes_back(self, said: HopProgress | None, step_id: int) -> bool:
        """Note what the hop says while `step_id` is waited for. True if it is less than it said before.

        Without this a hop could move the step to and fro for as long as it likes.
        """
        before, self._said = self._said, None if said is None else (step_id, said)
        if before is None or said is None or before[0] != step_id:
            return False
        return said.is_behind(before[1])

    async def why_ended(self, otherwise: P2PInferError) -> P2PInferError:
        """Return the reason that the call gives for its end, or `otherwise` if none comes within a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REASON_SECONDS):
                while self.failure is None:
                    self._news.clear()
                    await self._news.wait()
        return self.failure or otherwise

    async def wait_caught_up(self, tokens: int) -> None:
        """Wait until the hop has computed `tokens` of history. Raises HopFailedError, RefusedError."""
        while True:
            if self.failure is not None:
                raise self.failure
            if self.caught_up >= tokens:
                return
            self._news.clear()
            await self._news.wait()

    @property
    def _probe_seconds(self) -> float:
        return max(_PROBE_SECONDS, _PROBE_ROUND_TRIPS * self.server.round_trip_seconds)

    def _terms(self, shape: SessionShape, downstream: pb.Downstream | None) -> pb.Terms:
        terms = pb.Terms(
            session_id=self.session_id,
            server=self.peer_id,
            model=shape.model,
            numerics=self.server.record.numerics,
            first_layer=self.server.hop.layers.start,
            end_layer=self.server.hop.layers.end,
            rows=shape.rows,
            max_tokens=shape.max_tokens,
            issued_at=time.time(),
            steps_key=self.steps_key,
            control_key=self.control_key,
            wire_dtype=shape.wire_dtype,
            patient=shape.is_patient,
        )
        if downstream is None:
            terms.results_key = self.results_key
        else:
            terms.downstream.CopyFrom(downstream)
        return terms

    async def _first_frame(self, call: HopCall, downstream: pb.Downstream | None) -> pb.ServerFrame:
        """Return the answer to the opening. A silent server is noticed as soon as during later steps."""
        seconds = _DIALLING_SECONDS if self._may_take_long(downstream) else OPENING_SECONDS
        began, answers = asyncio.get_running_loop().time(), False
        try:
            async with ending(asyncio.ensure_future(call.frame())) as answer:
                async with asyncio.timeout(max(seconds, self._probe_seconds)):
                    while not answer.done():
                        await asyncio.wait({answer}, timeout=self._probe_seconds)
                        if not answer.done():
                            async with asyncio.timeout(self._probe_seconds):
                                await self.carrier.ping(self.server.address)
                            answers = True
                return answer.result()
        except TimeoutError as error:
            waited = asyncio.get_running_loop().time() - began
            detail = f"it has not answered the opening for {waited:.1f} s"
            if answers:
                raise HopStalledError(self.peer_id, detail, is_shared=downstream is not None) from error
            raise HopFailedError(self.peer_id, detail, certain=False) from error

    def _may_take_long(self, downstream: pb.Downstream | None) -> bool:
        """True if the server, or the one after it, is reached by a tunnel."""
        return not self.server.address.endpoints or (downstream is not None and not self.next_is_direct)

    async def _listen(self, call: HopCall, settlement: Settlement, on_news: Callable[[], None]) -> None:
        """Note what the server says, until the call ends."""
        allowance = Allowance()
        try:
            while True:
                frame = await call.frame()
                if not allowance.said(asyncio.get_running_loop().time(), is_work=self._is_work(frame)):
                    raise HopLiedError(self.peer_id, "it says the same again and again")
                match frame.WhichOneof("body"):
                    case "draining":
                        self.draining = True
                        self.draining_seconds = frame.draining.seconds
                    case "outputs_lost":
                        self.outputs_lost = foreign(frame.outputs_lost.detail)
                    case "caught_up":
                        self.caught_up = max(self.caught_up, frame.caught_up.tokens)
                    case "next_hop_way":
                        self.next_hop_way = way_said(frame.next_hop_way.way)
                    case "receipt_due":
                        settlement.settle_soon(frame.receipt_due)
                self._tell(on_news)
        except (HopFailedError, RefusedError) as error:
            self.failure = error
            self._tell(on_news)

    def _is_work(self, frame: pb.ServerFrame) -> bool:
        """True if it tells of work that was asked for, and has not been told of yet."""
        match frame.WhichOneof("body"):
            case "caught_up":
                return self.caught_up < frame.caught_up.tokens <= self.tally.history_tokens
            case "receipt_due":
                return self.tally.is_news(
                    Work(frame.receipt_due.prefill_tokens, frame.receipt_due.decode_tokens)
                )
        return False

    def _tell(self, on_news: Callable[[], None]) -> None:
        self._news.set()
        on_news()
