"""Replaying a session's history to new hops, so that their caches hold what the others hold.

The hop before a gap keeps what it has sent, and sends it again to the new hop. At the beginning of a chain
the client itself sends the history: it has the tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from p2pinfer.client.chain.blame import blame, blaming
from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.lane_end import LaneEnd
from p2pinfer.client.chain.overdue import patience_seconds
from p2pinfer.client.chain.pending_rows import history_steps, left_to_send
from p2pinfer.client.chain.prefill import PREFILL_STEP_TOKENS
from p2pinfer.client.chain.splice_plan import SplicePlan
from p2pinfer.errors import HopFailedError, HopStalledError, RefusedError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.tasks import all_of, ending
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, pack_step

_LOOK_SECONDS = 0.5
_STILL_SECONDS = 20.0
"""How long a replay may make no progress, even if all its hops answer and there are no others."""

_PATIENCE_SECONDS = 2.0
_FAR_PATIENCE_SECONDS = 6.0
_FAR_ROUND_TRIP_SECONDS = 0.015
"""How long it may make no progress where another server can take the place: a piece of a prompt has to get
there first, which takes some seconds over a slow line."""

_LEAST_SECONDS = 5.0
_EXPECTED_FACTOR = 10.0
_LEAST_BYTES_PER_SECOND = 125_000
"""How long it may take in all, there: a hop could make a little progress for ever."""

Tokens = Sequence[list[int]]
"""The tokens of each row."""


class Replay:
    """The history on its way to the new hops of a plan. It can be repeated as the history grows."""

    def __init__(self, chain: Chain, plan: SplicePlan, embed: Callable[[Sequence[int]], Hidden]) -> None:
        self._chain = chain
        self._plan = plan
        self._embed = embed
        self._sent: Tokens = []  # what the client itself has sent
        self._expected: dict[Hop, int] = dict.fromkeys(plan.fresh, 0)
        self.tokens = 0
        """How many tokens were replayed so far, each counted once, however many new hops compute it."""

    async def run(self, held: Tokens, steps_lane: LaneEnd | None, *, switch: bool, wait: bool) -> None:
        """Bring the new hops up to `held`, the tokens of each row that every hop of the chain has.

        `steps_lane` leads to a new first hop. With `switch` the old hops get no more steps from here on.
        Without `wait` the replay is only sent: the next step comes behind it. Raises HopFailedError,
        RefusedError.
        """
        self._expect_to_pay(held)
        work = self._run(held, steps_lane, switch=switch, wait=wait)
        async with ending(asyncio.ensure_future(work)) as replaying:
            await self._watch(replaying)

    def _expect_to_pay(self, held: Tokens) -> None:
        """Note how much history the new hops can compute at most.

        A hop that stays sends all that it has, computed or copied, including steps that were not answered
        when the chain broke. It sends a row again that was rewound or replaced since the last replay.
        """
        left: Hop | None = None
        for hop in self._plan.hops:
            if hop in self._plan.fresh:
                if left is None:
                    tokens = self._expected[hop] + left_to_send(held, self._sent)
                elif left in self._plan.fresh:
                    tokens = left.tally.history_tokens
                else:
                    shape = self._chain.shape
                    all_rows = shape.rows * shape.max_tokens
                    tokens = min(left.tally.most_passed_on, self._expected[hop] + all_rows)
                hop.tally.expect_history(tokens)
            left = hop

    async def _run(self, held: Tokens, steps_lane: LaneEnd | None, *, switch: bool, wait: bool) -> None:
        work: list[Coroutine[Any, Any, None]] = []
        for left, right in self._plan.seams:
            if right is None or left in self._plan.fresh:
                continue  # the client takes results as they come; a new hop passes on what it gets
            if left is None:
                if right in self._plan.fresh:
                    assert steps_lane is not None
                    work.append(self._send_history(steps_lane, right, held))
            elif switch or right in self._plan.fresh:
                work.append(self._redirect(left, right, held, switch=switch))
        await all_of(*work)
        if not wait:
            return
        for hop, tokens in self._expected.items():
            await blaming(hop.wait_caught_up(tokens), self._plan.hops.index(hop), self._plan.peers)

    async def _redirect(self, left: Hop, right: Hop, held: Tokens, *, switch: bool) -> None:
        """Let `left` replay its outputs to `right`, and send the next ones there too if it is to switch."""
        request = pb.SetDownstreamRequest(
            session=left.ref,
            downstream=right.downstream(pass_history_on=False),
            held=[] if right in self._plan.fresh else [len(row) for row in held],
            switch=switch,
        )
        try:
            reply = await self._chain.carrier.set_downstream(left.server.address, request)
        except RefusedError as error:
            raise blame(error, 0, [left.peer_id, right.peer_id]) from error
        self._expect(right, reply.tokens)

    async def _send_history(self, steps_lane: LaneEnd, first: Hop, held: Tokens) -> None:
        """Send the history to a new first hop."""
        wire_dtype = self._chain.shape.wire_dtype
        try:
            for step in history_steps(held, self._sent, self._embed, first.max_step_tokens):
                frame = pack_step(0, StepKind.HISTORY, step, Outputs.NONE, wire_dtype)
                await self._chain.carrier.deliver(steps_lane.lane, frame)
                self._expect(first, sum(len(chunk.hidden) for chunk in step))
        except OSError as error:
            raise HopFailedError(first.peer_id, f"its lane broke: {error}", certain=False) from error
        self._sent = [list(row) for row in held]

    def _expect(self, first: Hop, tokens: int) -> None:
        """Note that `tokens` more are on their way to this hop, and to the new hops right behind it."""
        self.tokens += tokens
        for hop in self._plan.hops[self._plan.hops.index(first) :]:
            if hop not in self._plan.fresh:
                break
            self._expected[hop] += tokens

    async def _watch(self, replaying: asyncio.Future[None]) -> None:
        """Wait for the replay, for as long as all its hops answer and it makes progress."""
        moved, still, waited = -1, 0.0, 0.0
        while True:
            await asyncio.wait({replaying}, timeout=_LOOK_SECONDS)
            if replaying.done():
                return replaying.result()
            involved = [hop for hop in self._plan.hops if hop in self._plan.fresh or self._replays(hop)]
            answers = await asyncio.gather(*(hop.progress() for hop in involved), return_exceptions=True)
            for hop, answer in zip(involved, answers, strict=True):
                if answer is None:
                    raise HopFailedError(hop.peer_id, "it does not answer", certain=False)
                if isinstance(answer, BaseException):
                    raise answer
            caught_up = sum(hop.caught_up for hop in self._plan.fresh)
            still = 0.0 if caught_up > moved else still + _LOOK_SECONDS
            waited += _LOOK_SECONDS
            moved = caught_up
            late = self._late(involved)
            if still >= _STILL_SECONDS:
                raise HopStalledError(late.peer_id, f"no history arrived for {_STILL_SECONDS:.0f} s")
            is_late = still >= self._patience_seconds(late) or waited >= self._most_seconds(late)
            if is_late and await self._chain.has_other(late):
                raise HopStalledError(late.peer_id, f"its history has not arrived after {waited:.1f} s")

    def _late(self, involved: Sequence[Hop]) -> Hop:
        """The first new hop that has not caught up, else the one that should send."""
        fresh = [hop for hop in involved if hop in self._plan.fresh]
        behind = [hop for hop in fresh if hop.caught_up < self._expected[hop] or not self._expected[hop]]
        return next(iter(behind or fresh or involved))

    def _patience_seconds(self, hop: Hop) -> float:
        is_far = hop.server.round_trip_seconds >= _FAR_ROUND_TRIP_SECONDS
        least = _FAR_PATIENCE_SECONDS if is_far else _PATIENCE_SECONDS
        return max(least, patience_seconds(hop.server.prefill_seconds(PREFILL_STEP_TOKENS, self.tokens)))

    def _most_seconds(self, hop: Hop) -> float:
        tokens = max(self._expected.values(), default=0)
        sent = tokens * self._chain.shape.hidden_size * 4 / _LEAST_BYTES_PER_SECOND
        return _LEAST_SECONDS + sent + _EXPECTED_FACTOR * hop.server.prefill_seconds(tokens, tokens / 2)

    def _replays(self, hop: Hop) -> bool:
        return any(left is hop and right is not None for left, right in self._plan.seams)
