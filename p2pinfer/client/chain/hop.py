"""A session at one server: its keys, its call, and what the server has said on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from p2pinfer.client.chain.deadlines import Pace
from p2pinfer.client.chain.recovery import HopProgress
from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.pay.tally import Tally
from p2pinfer.client.reach.carrier import Carrier, HopCall
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.errors import HopFailedError, P2PInferError, ProtocolError, RefusedError
from p2pinfer.types import SESSION_ID_BYTES, PeerId, SessionId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.opening import KEY_BYTES, sign_opening
from p2pinfer.wire.receipts import VALID_SECONDS, Receipt, Work
from p2pinfer.wire.step_kind import StepKind

logger = logging.getLogger(__name__)

OPENING_SECONDS = 6.0
"""For an opening, in which the server dials the next hop (4 s at most)."""

_PROBE_SECONDS = 1.2
_PROBE_ROUND_TRIPS = 4
_REASON_SECONDS = 0.5
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionShape:
    """What a session asks of every hop."""

    model: str
    hidden_size: int
    rows: int
    max_tokens: int
    wire_dtype: pb.WireDtype = pb.FLOAT32


@dataclass(slots=True, eq=False)
class Hop:
    """One server's part of a chain. Its session id and keys are for this opening alone."""

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
    caught_up: int = 0  # tokens of history that it has computed
    queue_seconds: float = 0.0  # sums over the steps it took part in
    compute_seconds: float = 0.0
    steps: int = 0
    pace: Pace = field(default_factory=Pace)
    tally: Tally = field(default_factory=Tally)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _settling: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def peer_id(self) -> PeerId:
        """Whose it is."""
        return self.server.hop.peer_id

    @property
    def ref(self) -> pb.SessionRef:
        """How to name the session to its server."""
        return pb.SessionRef(session_id=self.session_id, control_key=self.control_key)

    def downstream(self, *, pass_history_on: bool) -> pb.Downstream:
        """How the hop before is told about this one."""
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

        `on_news` is called, in the event loop, when the server has said something or is gone. Raises
        RefusedError or HopFailedError if it isn't taken.
        """
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
        )
        if downstream is None:
            terms.results_key = self.results_key
        else:
            terms.downstream.CopyFrom(downstream)
        opening = sign_opening(terms, payer.identity.public_key, payer.identity.sign)
        async with AsyncExitStack() as session:
            call = await session.enter_async_context(self.carrier.open(self.server.address, opening))
            frame = await self._first_frame(call)
            if not frame.HasField("opened"):
                raise HopFailedError(self.peer_id, "it did not answer the opening")
            self.max_step_tokens = max(1, frame.opened.max_step_tokens)
            listener = asyncio.create_task(self._listen(call, payer, on_news))
            try:
                yield
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)
                await session.aclose()  # its memory is free; the last receipt may come later
                if not isinstance(self.failure, HopFailedError):
                    payer.settle_soon(self._settle(payer, self.tally.most))

    def count(self, kind: StepKind, queue_seconds: float, compute_seconds: float) -> None:
        """Note that it took part in a step. Its pace is that of decode steps, which are all alike."""
        self.steps += 1
        self.queue_seconds += queue_seconds
        self.compute_seconds += compute_seconds
        if kind is StepKind.DECODE:
            self.pace.add(queue_seconds + compute_seconds)

    async def progress(self) -> HopProgress | None:
        """How far it is; None if it doesn't answer in time. Raises HopFailedError, RefusedError."""
        request = pb.ProgressRequest(session=self.ref)
        try:
            async with asyncio.timeout(self._probe_seconds):
                reply = await self.carrier.progress(self.server.address, request)
        except TimeoutError:
            return None
        return HopProgress(received=reply.received, computed=reply.computed, sent=reply.sent)

    async def why_ended(self, otherwise: P2PInferError) -> P2PInferError:
        """What its call says about the end of a session that is gone; that may come a moment later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REASON_SECONDS):
                while self.failure is None:
                    self._news.clear()
                    await self._news.wait()
        return self.failure or otherwise

    async def wait_caught_up(self, tokens: int) -> None:
        """Wait until so many tokens of history are computed here. Raises HopFailedError, RefusedError."""
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

    async def _first_frame(self, call: HopCall) -> pb.ServerFrame:
        """The answer to the opening. A server that falls silent now is noticed as soon as in later steps."""
        answer = asyncio.ensure_future(call.frame())
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                while not answer.done():
                    await asyncio.wait({answer}, timeout=self._probe_seconds)
                    if not answer.done():
                        async with asyncio.timeout(self._probe_seconds):
                            await self.carrier.ping(self.server.address)
            return answer.result()
        except TimeoutError as error:
            detail = "it does not answer the opening"
            raise HopFailedError(self.peer_id, detail, certain=False) from error
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)

    async def _listen(self, call: HopCall, payer: Payer, on_news: Callable[[], None]) -> None:
        """Hear the call for as long as the session lives."""
        try:
            while True:
                frame = await call.frame()
                match frame.WhichOneof("body"):
                    case "draining":
                        self.draining = True
                    case "outputs_lost":
                        self.outputs_lost = frame.outputs_lost.detail
                    case "caught_up":
                        self.caught_up = frame.caught_up.tokens
                    case "receipt_due":
                        payer.settle_soon(self._settle(payer, _work(frame.receipt_due)))
                self._tell(on_news)
        except (HopFailedError, RefusedError) as error:
            self.failure = error
            self._tell(on_news)

    async def _settle(self, payer: Payer, claimed: Work) -> None:
        """Sign for what it has done.

        What can't be settled, because the server has gone, stays unsigned: the loss is the server's, and at
        most what it has let be unsigned.
        """
        try:
            async with asyncio.timeout(_SETTLE_SECONDS), self._settling:
                done = await self._offer(payer, claimed)
                if done is not None:
                    await self._offer(payer, done)
        except (HopFailedError, RefusedError, ProtocolError, TimeoutError) as error:
            logger.debug("not settled with %s: %s", self.peer_id, error)

    async def _offer(self, payer: Payer, claimed: Work) -> Work | None:
        """Sign for this much, as far as it is believed. Returns what was done if that is less."""
        work = self.tally.to_sign(claimed)
        if work is None:
            return None
        now = time.time()
        receipt = Receipt(
            session_id=SessionId(self.session_id),
            server=self.peer_id,
            client=payer.identity.public_key,
            model=self.server.record.model,
            layers=self.server.hop.layers,
            work=work,
            sequence=self.tally.next_sequence(),
            issued_at=now,
            expires_at=now + VALID_SECONDS,
        )
        signed = payer.sign(receipt)
        request = pb.SettleRequest(session=self.ref, receipt=signed)
        reply = await self.carrier.settle(self.server.address, request)
        if not reply.server_signature:
            return _work(reply.done)
        self.tally.signed = work
        payer.keep(receipt, signed, reply.server_signature)
        return None

    def _tell(self, on_news: Callable[[], None]) -> None:
        self._news.set()
        on_news()


def _work(due: pb.ReceiptDue) -> Work:
    return Work(due.prefill_tokens, due.decode_tokens)
