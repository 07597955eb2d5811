"""A route in use: a session at every hop, a lane for steps to the first, one for results from the last.

Hops come into a chain and leave it by splicing (splice.py), the first ones too. What a chain knows about
trouble comes from its hops' calls, from its two lanes, and from asking every hop when a step is overdue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from p2pinfer.client.chain.hop import Hop, SessionShape
from p2pinfer.client.chain.prefill import step_tokens
from p2pinfer.client.chain.recovery import Silent, Stuck, Working, diagnose
from p2pinfer.client.reach.carrier import Carrier, ClientLane
from p2pinfer.client.route.routing import CLIENT
from p2pinfer.errors import HopFailedError, LinkFailedError, P2PInferError, ProtocolError, RefusedError
from p2pinfer.types import PeerId
from p2pinfer.wire.receipts import work_of
from p2pinfer.wire.status import Reason
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Outputs,
    Result,
    RowChunk,
    max_result_bytes,
    pack_step,
    read_result,
    step_id_of,
)

T = TypeVar("T")

_STUCK_SECONDS = 1.0
"""How long nothing may pass between two hops before the link between them counts as broken. A hop reads its
lanes between batches, so what was sent may lie in the kernel for as long as a batch takes."""

Link = tuple[Hop | None, Hop | None]
"""Neighbours; None is the client."""


@dataclass(slots=True)
class End:
    """A lane of the client's own, with what keeps the way to it open."""

    lane: ClientLane
    resources: AsyncExitStack = field(default_factory=AsyncExitStack)


class Chain:
    """The hops of one session, in order. Steps are answered in order.

    `send` and `receive` are for the thread that generates: it writes and reads its lanes itself, for
    every hand-over to another thread would cost as much as a hop. The rest is for the event loop, while
    that thread waits or does something else than step.
    """

    def __init__(
        self,
        shape: SessionShape,
        carrier: Carrier,
        *,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        now: Callable[[], float],
        on_news: Callable[[], None],
        step_seconds: float,
    ) -> None:
        """`run` takes a coroutine from the generating thread to the event loop and waits for it; `on_news`
        is called in the event loop when a hop has said something.

        A hop that holds a step for longer than `step_seconds` is given up, though it answers.
        """
        self.shape = shape
        self.carrier = carrier
        self.hops: list[Hop] = []
        self.resources: dict[Hop, AsyncExitStack] = {}
        self.broken: dict[Link, None] = {}  # in order
        self.steps: End | None = None
        self.results: End | None = None
        self._run = run
        self._now = now
        self._on_news = on_news
        self._step_seconds = step_seconds
        self._waiter = carrier.waiter()
        self._max_step_tokens = 1
        self._last_step_id = 0
        self._unsent = False

    @property
    def max_step_tokens(self) -> int:
        """No hop takes a longer step, and none is better for this route."""
        return self._max_step_tokens

    def install(self, hops: Sequence[Hop], steps: End, results: End) -> None:
        """Go on with these hops and lanes; the others are the caller's to close."""
        self.hops, self.steps, self.results = list(hops), steps, results
        self.broken.clear()
        self._unsent = False
        farthest = max(hop.server.round_trip_seconds for hop in hops)
        self._max_step_tokens = min(step_tokens(farthest), *(hop.max_step_tokens for hop in hops))
        results.lane.max_frame_bytes = max_result_bytes(
            self.max_step_tokens, len(hops), self.shape.hidden_size, self.shape.wire_dtype
        )

    def on_news(self) -> None:
        """A hop has said something: whoever waits looks at it."""
        self._waiter.wake()
        self._on_news()

    def send(self, kind: StepKind, chunks: Sequence[RowChunk], outputs: Outputs) -> int:
        """Begin to send one step to the first hop, and return its id; `receive` goes on with it.

        Raises HopFailedError, RefusedError.
        """
        self._check()
        assert self.steps is not None
        self._last_step_id += 1
        step = pack_step(self._last_step_id, kind, chunks, outputs, self.shape.wire_dtype)
        work = work_of(kind, sum(len(chunk.hidden) for chunk in chunks))
        for hop in self.hops:
            hop.tally.ask(work)
        try:
            self._unsent = not self.steps.lane.send(step)
        except OSError as error:
            self._lost((None, self.hops[0]), error)
        return self._last_step_id

    def receive(self, step_id: int, *, tokens: int, overdue_seconds: float) -> Result:
        """Wait for this step's result of `tokens` hidden states.

        When it is overdue every hop is asked how far it is, again and again until the result is there or
        somebody is to blame. Raises HopFailedError, RefusedError.
        """
        assert self.results is not None
        frame = self._next_frame(step_id, overdue_seconds)
        try:
            return read_result(
                frame,
                tokens=tokens,
                hops=len(self.hops),
                hidden_size=self.shape.hidden_size,
                dtype=self.shape.wire_dtype,
            )
        except ProtocolError as error:
            raise HopFailedError(self.hops[-1].peer_id, f"its answer is wrong: {error}") from error

    async def close(self) -> None:
        """End every session and close the lanes."""
        hops, self.hops = self.hops, []
        for hop in hops:
            await self.drop(hop)
        for end in (self.steps, self.results):
            if end is not None:
                await end.resources.aclose()
        self.steps = self.results = None
        self._waiter.close()

    async def drop(self, hop: Hop) -> None:
        """End one hop's session."""
        resources = self.resources.pop(hop, None)
        if resources is not None:
            await resources.aclose()

    def _next_frame(self, step_id: int, overdue_seconds: float) -> bytes:
        """The result of this step; those of older ones are dropped on the way."""
        assert self.results is not None
        look_at, look_again, give_up_at = overdue_seconds, overdue_seconds, self._step_seconds
        began = self._now()
        stuck: tuple[Stuck, float] | None = None
        while True:
            frame = self._read(step_id)
            if frame is not None:
                return frame
            self._check()
            self._flush()
            waited = self._now() - began
            if waited >= look_at:
                verdict = self._run(self._examine(step_id))
                waited = self._now() - began
                if isinstance(verdict, Stuck):
                    since = stuck[1] if stuck is not None and stuck[0] == verdict else waited
                    stuck = (verdict, since)
                    if waited - since >= _STUCK_SECONDS or waited >= give_up_at:
                        raise self._link_failed(verdict.sender, "nothing passes")
                    look_at = waited + _STUCK_SECONDS / 2
                else:
                    stuck = None
                    if waited >= give_up_at:
                        holder = self.hops[verdict.hop].peer_id
                        detail = f"it has held a step for {waited:.0f} s"
                        raise HopFailedError(holder, detail, certain=False)
                    look_again *= 1.5
                    look_at = waited + min(look_again, give_up_at / 4)
                continue
            self._waiter.wait(
                self.results.lane,
                self.steps.lane if self._unsent and self.steps else None,
                look_at - waited,
            )

    def _read(self, step_id: int) -> bytes | None:
        """The result of this step, if it is there."""
        assert self.results is not None
        last = self.hops[-1]
        try:
            while (frame := self.results.lane.receive()) is not None:
                answered = step_id_of(frame)
                if answered == step_id:
                    return frame
                if answered > step_id:
                    raise ProtocolError(f"step {answered} was answered before step {step_id}")
        except (OSError, EOFError) as error:
            self._lost((last, None), error)
        except ProtocolError as error:
            raise HopFailedError(last.peer_id, str(error)) from error
        return None

    def _flush(self) -> None:
        if self._unsent:
            assert self.steps is not None
            try:
                self._unsent = not self.steps.lane.flush()
            except OSError as error:
                self._lost((None, self.hops[0]), error)

    def _check(self) -> None:
        """Raise what a hop's call has told, if that ends the route as it is."""
        self._check_calls()
        for index, hop in enumerate(self.hops):
            if hop.outputs_lost is not None:
                following = self.hops[index + 1] if index + 1 < len(self.hops) else None
                self._lost((hop, following), hop.outputs_lost)
        for left, _ in self.broken:
            raise self._link_failed(-1 if left is None else self.hops.index(left), "it was cut")

    def _lost(self, link: Link, why: object) -> NoReturn:
        """What two neighbours talk through broke: because one of them is gone, or by itself."""
        self.broken[link] = None
        self._run(self._examine(self._last_step_id))
        self._check_calls()
        sender = -1 if link[0] is None else self.hops.index(link[0])
        raise self._link_failed(sender, str(why))

    def _check_calls(self) -> None:
        for index, hop in enumerate(self.hops):
            if hop.failure is not None:
                raise blame(hop.failure, index, [other.peer_id for other in self.hops])

    async def _examine(self, step_id: int) -> Stuck | Working:
        """Ask every hop how far it is. Raises HopFailedError for those that are silent or gone."""
        answers = await asyncio.gather(*(hop.progress() for hop in self.hops), return_exceptions=True)
        hops = []
        for index, answer in enumerate(answers):
            if isinstance(answer, HopFailedError | RefusedError):
                reason = await self.hops[index].why_ended(otherwise=answer)
                raise blame(reason, index, [hop.peer_id for hop in self.hops])
            if isinstance(answer, BaseException):
                raise answer
            hops.append(answer)
        verdict = diagnose(step_id, hops)
        if isinstance(verdict, Silent):
            raise HopFailedError(self.hops[verdict.hop].peer_id, "it does not answer", certain=False)
        return verdict

    def _link_failed(self, sender: int, why: str) -> LinkFailedError:
        left = self.hops[sender] if sender >= 0 else None
        right = self.hops[sender + 1] if sender + 1 < len(self.hops) else None
        self.broken[(left, right)] = None
        names = [CLIENT if hop is None else hop.peer_id for hop in (left, right)]
        return LinkFailedError(names[0], names[1], f"nothing gets through to it: {why}")


def blame(error: P2PInferError, index: int, hops: Sequence[PeerId]) -> P2PInferError:
    """Who is to blame, if not the hop that tells.

    A hop that finds its step wrong has it from the hop before; one that can't reach the next one speaks of
    the link between them.
    """
    if isinstance(error, RefusedError):
        if index > 0 and error.reason == Reason.BAD_STEP:
            return HopFailedError(hops[index - 1], f"what it sent on is wrong: {error}")
        if index + 1 < len(hops) and error.reason == Reason.NEXT_HOP_UNREACHABLE:
            return LinkFailedError(hops[index], hops[index + 1], f"the hop before can't reach it: {error}")
    return error
