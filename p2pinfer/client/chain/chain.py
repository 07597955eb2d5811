"""A route in use: a session at every hop, a lane for steps to the first, one for results from the last.

Hops come into a chain and leave it by splicing (splice.py), the first ones too. A chain learns of trouble
from its hops' calls, from its two lanes, and by asking every hop when a step is overdue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, NoReturn

from p2pinfer.client.chain.blame import blame
from p2pinfer.client.chain.diagnosis import Stuck, Working
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.inquiry import locate_step
from p2pinfer.client.chain.lane_end import LaneEnd
from p2pinfer.client.chain.overdue import OverdueStep
from p2pinfer.client.chain.prefill import step_tokens
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.route.candidate import CLIENT
from p2pinfer.errors import (
    HopFailedError,
    HopLiedError,
    HopStalledError,
    LinkFailedError,
    P2PInferError,
    ProtocolError,
)
from p2pinfer.types import Way
from p2pinfer.wire.prefix_steps import Feed, Prefix
from p2pinfer.wire.receipts import work_of
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    MAX_HOPS,
    Fork,
    Outputs,
    Result,
    RowChunk,
    max_result_bytes,
    pack_feed,
    pack_fork,
    pack_prefix,
    pack_step,
    read_result,
    step_id_of,
)

Link = tuple[Hop | None, Hop | None]
"""Two neighbours; None is the client."""


@dataclass(frozen=True, slots=True)
class HopWays:
    """How a hop is reached now; None: nobody knows, or the server doesn't say."""

    steps: Way | None = None  # by the steps: from the client, or from the hop before, which says so
    client: Way | None = None  # by the client itself: for its questions, and for the last hop's results


class Chain:
    """The hops of one session, in order. Steps are answered in order.

    `send` and `receive` are for the thread that generates. It writes and reads its lanes itself, because
    every hand-over to another thread would cost as much as a hop. All other methods are for the event loop,
    while that thread waits or is between two steps.
    """

    def __init__(
        self,
        shape: SessionShape,
        carrier: Carrier,
        *,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        now: Callable[[], float],
        on_news: Callable[[], None],
        has_other: Callable[[Hop], Coroutine[Any, Any, bool]],
        step_seconds: float,
    ) -> None:
        """Make a chain without hops.

        `run` takes a coroutine from the generating thread to the event loop and waits for it. `on_news` is
        called in the event loop when a hop has said something. `has_other` says whether another server can
        take a hop's place now. A hop that holds a step for longer than `step_seconds` is given up, even if it
        answers, and there is no other.
        """
        self.shape = shape
        self.carrier = carrier
        self.hops: list[Hop] = []
        self.resources: dict[Hop, AsyncExitStack] = {}
        self.broken: dict[Link, None] = {}  # a set that keeps its order
        self.steps_lane: LaneEnd | None = None
        self.results_lane: LaneEnd | None = None
        self._run = run
        self._now = now
        self._on_news = on_news
        self.has_other = has_other
        self._step_seconds = step_seconds
        self._waiter = carrier.waiter()
        self._max_step_tokens = 1
        self._last_step_id = 0
        self._unsent = False
        self._ended: P2PInferError | None = None
        self._asked: dict[int, int] = {}
        """Hidden states that steps ask for, by step id: of those under way, and of the one answered last."""

    @property
    def max_step_tokens(self) -> int:
        """The longest step that every hop takes and that is good for this route."""
        return self._max_step_tokens

    def install(self, hops: Sequence[Hop], steps_lane: LaneEnd, results_lane: LaneEnd) -> None:
        """Go on with these hops and lanes. The caller closes the former ones."""
        self.hops, self.steps_lane, self.results_lane = list(hops), steps_lane, results_lane
        self.broken.clear()
        self._unsent = False
        farthest = max(hop.server.round_trip_seconds for hop in hops)
        self._max_step_tokens = min(step_tokens(farthest), *(hop.max_step_tokens for hop in hops))
        self._bound_results()

    def ways_to(self, hop: Hop) -> HopWays:
        """How a hop of the chain is reached now. Any thread may ask."""
        hops = self.hops  # it is another list when they change, which they do while other threads look
        if hop not in hops:
            return HopWays()
        place = hops.index(hop)
        steps = hops[place - 1].next_hop_way if place else self._way_of(self.steps_lane, hop)
        is_last = place == len(hops) - 1
        client = self._way_of(self.results_lane, hop) if is_last else self.carrier.way_to(hop.peer_id)
        return HopWays(steps, client)

    def _way_of(self, end: LaneEnd | None, hop: Hop) -> Way | None:
        return None if end is None else self.carrier.way_of(end.lane, hop.peer_id)

    def on_news(self) -> None:
        """Wake the generating thread: a hop has said something."""
        self._waiter.wake()
        self._on_news()

    def end(self, error: P2PInferError) -> None:
        """Raise `error` in the generating thread, now or at its next step."""
        self._ended = error
        self._waiter.wake()

    def send(self, kind: StepKind, chunks: Sequence[RowChunk], outputs: Outputs) -> int:
        """Begin to send one step to the first hop, and return its id. `receive` sends the rest.

        Raises HopFailedError, RefusedError.
        """
        self._check()
        self._last_step_id += 1
        step = pack_step(self._last_step_id, kind, chunks, outputs, self.shape.wire_dtype)
        work = work_of(kind, sum(len(chunk.hidden) for chunk in chunks))
        for hop in self.hops:
            hop.tally.ask(work)
        return self._begin_to_send(step, _answered_tokens(chunks, outputs))

    def fork(self, forks: Sequence[Fork]) -> int:
        """Begin to send a step that copies rows at every hop, and return its id. Nothing is computed.

        Every `fork.row` becomes the first `fork.tokens` tokens of its source, whatever it held before. No row
        comes twice, and none is both replaced and a source. `receive` takes the answer, which has 0 tokens.

        After a failure a fork without an answer is to be sent again, in its place among the other steps.
        Until it is answered the hops may hold the old row or the new one: what the caller says that all hops
        hold must then be only what both begin with. A source must not be rewound below `fork.tokens` before
        the answer.

        Raises HopFailedError, RefusedError.
        """
        self._check()
        self._last_step_id += 1
        for hop in self.hops:
            hop.tally.copied_tokens += sum(fork.tokens for fork in forks)
        return self._begin_to_send(pack_fork(self._last_step_id, forks))

    def keep(self, prefix: Prefix) -> int:
        """Begin to send a step that keeps the beginning of a row at every hop, and return its id.

        `receive` takes the answer, which has 0 tokens, and names the first hop that has no room for it.
        Raises HopFailedError, RefusedError.
        """
        self._check()
        self._last_step_id += 1
        return self._begin_to_send(pack_prefix(self._last_step_id, StepKind.KEEP, prefix))

    def recall(self, prefix: Prefix) -> int:
        """Begin to send a step that makes a row a copy of what is kept, and return its id.

        `receive` takes the answer, which has 0 tokens, and names the first hop that lacks it. Hops that lack
        it leave the row as it is. So, with an answer and without one, all hops hold what the row and the
        prefix both begin with. Raises HopFailedError, RefusedError.
        """
        self._check()
        self._last_step_id += 1
        for hop in self.hops:
            hop.tally.copied_tokens += prefix.tokens
        return self._begin_to_send(pack_prefix(self._last_step_id, StepKind.RECALL, prefix))

    def feed(self, feed: Feed) -> int:
        """Begin to send a step that has tokens computed from the hop `feed.hop` on, and return its id.

        The hops before must hold them. `receive` takes the answer, which has 0 tokens. Raises HopFailedError,
        RefusedError.
        """
        self._check()
        self._last_step_id += 1
        for hop in self.hops[feed.hop :]:
            hop.tally.ask(work_of(StepKind.PREFILL, feed.tokens))
        return self._begin_to_send(pack_feed(self._last_step_id, feed))

    def _begin_to_send(self, step: bytes, answered: int = 0) -> int:
        assert self.steps_lane is not None
        self._asked[self._last_step_id] = answered
        self._bound_results()
        try:
            self._unsent = not self.steps_lane.lane.send(step)
        except OSError as error:
            self._lost((None, self.hops[0]), error)
        return self._last_step_id

    def receive(
        self, step_id: int, *, tokens: int, overdue_seconds: float, patience: float = math.inf
    ) -> Result:
        """Wait for the result of this step: `tokens` hidden states.

        When it is overdue, the client asks every hop how far it is, again and again, until the result comes
        or a hop or a link is to blame. A hop that holds the step for longer than `patience`, in seconds,
        is to blame if another can take its place. Raises HopFailedError, RefusedError.
        """
        frame = self._next_frame(step_id, overdue_seconds, patience)
        self._asked = {later: asked for later, asked in self._asked.items() if later >= step_id}
        try:
            return read_result(
                frame,
                tokens=tokens,
                hops=len(self.hops),
                hidden_size=self.shape.hidden_size,
                dtype=self.shape.wire_dtype,
            )
        except ProtocolError as error:
            raise HopLiedError(self.hops[-1].peer_id, f"its answer is wrong: {error}") from error

    async def close(self) -> None:
        """End every session and close the lanes."""
        hops, self.hops = self.hops, []
        for hop in hops:
            await self.drop(hop)
        for lane in (self.steps_lane, self.results_lane):
            if lane is not None:
                await lane.close()
        self.steps_lane = self.results_lane = None
        self._waiter.close()

    async def drop(self, hop: Hop) -> None:
        """End one hop's session."""
        resources = self.resources.pop(hop, None)
        if resources is not None:
            await resources.aclose()

    def _bound_results(self) -> None:
        """Take no longer result than those that were asked for: the last hop may be anybody's.

        Results that are on their way may have passed other hops than those of now.
        """
        if self.results_lane is not None:
            tokens = max(list(self._asked.values()), default=0)
            self.results_lane.lane.max_frame_bytes = max_result_bytes(
                tokens, MAX_HOPS, self.shape.hidden_size, self.shape.wire_dtype
            )

    def _next_frame(self, step_id: int, overdue_seconds: float, patience: float) -> bytes:
        """Return the result of this step; results of older steps are dropped."""
        assert self.results_lane is not None
        overdue: OverdueStep | None = None
        look_at = overdue_seconds
        began = self._now()
        while True:
            frame = self._read(step_id)
            if frame is not None:
                return frame
            self._check()
            self._flush()
            waited = self._now() - began
            if waited < look_at:
                unsent = self.steps_lane.lane if self._unsent and self.steps_lane else None
                self._waiter.wait(self.results_lane.lane, unsent, look_at - waited)
                continue
            if overdue is None:
                overdue = OverdueStep(overdue_seconds, self._step_seconds, patience)
            verdict = self._run(locate_step(step_id, self._last_step_id, self.hops))
            waited = self._now() - began
            is_late = overdue.tries_patience(verdict, waited)
            if is_late and isinstance(verdict, Working) and self._run(self.has_other(self.hops[verdict.hop])):
                frame = self._read(step_id)  # it may have come meanwhile
                if frame is not None:
                    return frame
                raise self._given_up(verdict, waited)
            next_look = overdue.next_look(verdict, waited)
            if next_look is None:
                raise self._given_up(verdict, waited)
            look_at = next_look

    def _read(self, step_id: int) -> bytes | None:
        """Return the result of this step, or None if it has not come yet."""
        assert self.results_lane is not None
        last = self.hops[-1]
        try:
            while (frame := self.results_lane.lane.receive()) is not None:
                answered = step_id_of(frame)
                if answered == step_id:
                    return frame
                if answered > step_id:
                    raise ProtocolError(f"step {answered} was answered before step {step_id}")
        except (OSError, EOFError) as error:
            self._lost((last, None), error)
        except ProtocolError as error:
            raise HopLiedError(last.peer_id, str(error)) from error
        return None

    def _flush(self) -> None:
        if self._unsent:
            assert self.steps_lane is not None
            try:
                self._unsent = not self.steps_lane.lane.flush()
            except OSError as error:
                self._lost((None, self.hops[0]), error)

    def _check(self) -> None:
        """Raise what a hop's call has reported, if the route can't go on with it."""
        if self._ended is not None:
            raise self._ended
        self._check_calls()
        for index, hop in enumerate(self.hops):
            if hop.outputs_lost is not None:
                following = self.hops[index + 1] if index + 1 < len(self.hops) else None
                self._lost((hop, following), hop.outputs_lost)
        for left, _ in self.broken:
            raise self._link_failed(-1 if left is None else self.hops.index(left), "it was cut")

    def _check_calls(self) -> None:
        for index, hop in enumerate(self.hops):
            if hop.failure is not None:
                raise blame(hop.failure, index, [other.peer_id for other in self.hops])

    def _lost(self, link: Link, why: object) -> NoReturn:
        """Raise the cause of a broken lane between two neighbours: one of them, or the link itself."""
        self.broken[link] = None
        self._run(locate_step(self._last_step_id, self._last_step_id, self.hops))
        self._check_calls()
        sender = -1 if link[0] is None else self.hops.index(link[0])
        raise self._link_failed(sender, str(why))

    def _given_up(self, verdict: Stuck | Working, waited_seconds: float) -> HopFailedError:
        if isinstance(verdict, Stuck):
            return self._link_failed(verdict.sender, "nothing passes")
        detail = f"it has held a step for {waited_seconds:.1f} s"
        return HopStalledError(self.hops[verdict.hop].peer_id, detail)

    def _link_failed(self, sender: int, why: str) -> LinkFailedError:
        left = self.hops[sender] if sender >= 0 else None
        right = self.hops[sender + 1] if sender + 1 < len(self.hops) else None
        self.broken[(left, right)] = None
        names = [CLIENT if hop is None else hop.peer_id for hop in (left, right)]
        return LinkFailedError(names[0], names[1], f"nothing gets through to it: {why}")


def _answered_tokens(chunks: Sequence[RowChunk], outputs: Outputs) -> int:
    match outputs:
        case Outputs.ALL:
            return sum(len(chunk.hidden) for chunk in chunks)
        case Outputs.LAST:
            return len(chunks)
        case Outputs.NONE:
            return 0
