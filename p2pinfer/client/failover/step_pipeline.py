"""Steps under way through an unbroken chain: sent one behind the other, answered in order.

Both kinds of session use it: session.py, where a caller waits for whole rows, and batching/, where rows are
independent. What a failure leaves unanswered they plan anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.deadlines import StepTimes
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.overdue import patience_seconds
from p2pinfer.client.failover.unbroken_chain import UnbrokenChain
from p2pinfer.client.network import Network
from p2pinfer.client.pace.judging import AtHop, RouteJudge
from p2pinfer.client.trust.reputation import KNOWN_STEPS
from p2pinfer.model.engine.base import Hidden
from p2pinfer.wire.prefix_steps import Feed, Prefix
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Fork, Outputs, RowChunk

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """One step, and how many hidden states come back for it."""

    kind: StepKind
    chunks: Sequence[RowChunk]
    outputs: Outputs
    answered_tokens: int

    @property
    def tokens(self) -> int:
        """The tokens of all chunks together."""
        return sum(len(chunk.hidden) for chunk in self.chunks)


class Answer(NamedTuple, Generic[T]):
    """What came of a step."""

    note: T
    hidden: Hidden
    """[answered_tokens, hidden_size]"""

    lacking: int | None
    """The first hop that hasn't kept the prefix of a KEEP or RECALL step."""


class _Sent(NamedTuple, Generic[T]):
    step: StepRequest
    note: T
    step_id: int
    at: float


class StepPipeline(Generic[T]):
    """For the thread that generates, while it holds the session's turn.

    `T` is whatever the caller wants back with the answer. All methods raise HopFailedError and RefusedError;
    then call `forget`, and let the chain recover.
    """

    def __init__(self, network: Network, unbroken: UnbrokenChain) -> None:
        self._network = network
        self._unbroken = unbroken
        self._times = StepTimes()
        self._under_way: deque[_Sent[T]] = deque()
        self._last_answer = 0.0
        self._judged_hops: list[Hop] | None = None
        self._route_judge = RouteJudge()
        self._worked = 0
        self._were_slow: set[int] = set()
        self.tokens_ahead = 0
        """Tokens of the steps that aren't answered yet."""

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def notes(self) -> list[T]:
        """The notes of the steps that aren't answered yet, the oldest first."""
        return [sent.note for sent in self._under_way]

    def send(self, chain: Chain, step: StepRequest, note: T) -> None:
        """Send one step behind the others."""
        self._sent(chain.send(step.kind, step.chunks, step.outputs), step, note)

    def fork(self, chain: Chain, forks: Sequence[Fork], note: T) -> None:
        """Let rows become copies of others, behind the steps that were sent. See `Chain.fork`."""
        self._sent(chain.fork(forks), _bare(StepKind.FORK), note)

    def prefix(self, chain: Chain, kind: StepKind, prefix: Prefix, note: T) -> None:
        """Have the beginning of a row kept or recalled, behind the steps that were sent."""
        step_id = chain.keep(prefix) if kind is StepKind.KEEP else chain.recall(prefix)
        self._sent(step_id, _bare(kind), note)

    def feed(self, chain: Chain, feed: Feed, note: T) -> None:
        """Have tokens computed by the hops that lack them, behind the steps that were sent."""
        self._sent(chain.feed(feed), _bare(StepKind.FEED), note)

    def take(self, chain: Chain) -> Answer[T]:
        """Wait for the answer to the oldest step."""
        step, note, step_id, sent_at = self._under_way[0]
        kind, tokens = step.kind, step.tokens
        hops, expected = chain.hops, [_expected_seconds(hop, step) for hop in chain.hops]
        result = chain.receive(
            step_id,
            tokens=step.answered_tokens,
            overdue_seconds=self._times.overdue_seconds(
                kind,
                tokens=tokens,
                expected_seconds=_way_seconds(hops) + sum(expected) if all(expected) else 0.0,
            ),
            patience=patience_seconds(
                max(expected, default=0.0), self._times.usual_seconds(kind, tokens=tokens)
            ),
        )
        self._under_way.popleft()
        now = self._network.now()
        seconds = now - max(sent_at, self._last_answer)
        self._times.add(kind, tokens=tokens, seconds=seconds)
        self._last_answer = now
        self.tokens_ahead -= tokens
        self._unbroken.mender.progressed()
        self._count(hops, result.hop_seconds, kind)
        if kind is StepKind.DECODE:
            self._judge(hops, result.hop_seconds, expected, seconds)
        return Answer(note, result.hidden, result.lacking)

    def forget(self) -> None:
        """Expect no answer any more."""
        self._under_way.clear()
        self.tokens_ahead = 0

    def _sent(self, step_id: int, step: StepRequest, note: T) -> None:
        self.tokens_ahead += step.tokens
        self._under_way.append(_Sent(step, note, step_id, self._network.now()))

    def _judge(
        self,
        hops: list[Hop],
        hop_seconds: Sequence[tuple[float, float]],
        expected: Sequence[float],
        seconds: float,
    ) -> None:
        """Compare a decode step with what was expected of the hops."""
        if hops is not self._judged_hops:
            self._judged_hops, self._route_judge, self._worked = hops, RouteJudge(), 0
            self._were_slow.clear()
        at_hops = [AtHop(*both, usual) for both, usual in zip(hop_seconds, expected, strict=True)]
        self._route_judge.add(at_hops, seconds=seconds, way_seconds=_way_seconds(hops))
        if slow := self._route_judge.slow():
            self._network.call_soon(partial(self._unbroken.handover.look_at_pace, slow))
            self._were_slow.update(one.hop for one in slow)
        self._worked += 1
        if self._worked % KNOWN_STEPS == 0:
            well = [hop for index, hop in enumerate(hops) if index not in self._were_slow]
            self._network.call_soon(partial(self._unbroken.worked, well, KNOWN_STEPS))
            self._were_slow.clear()

    def _count(self, hops: list[Hop], hop_seconds: Sequence[tuple[float, float]], kind: StepKind) -> None:
        slow = False
        for hop, (queue, compute) in zip(hops, hop_seconds, strict=True):
            hop.count(kind, queue, compute)
            slow = slow or hop.pace.slow_seconds is not None
        if slow:
            self._network.call_soon(self._unbroken.handover.look_at_pace)


def _expected_seconds(hop: Hop, step: StepRequest) -> float:
    """What this step was expected to take at this hop when it was chosen; 0.0 if nobody knows."""
    context = sum(chunk.position for chunk in step.chunks)
    if step.kind is StepKind.DECODE:
        return hop.server.decode_seconds(len(step.chunks), context)
    return hop.server.prefill_seconds(step.tokens, context / max(1, len(step.chunks)))


def _way_seconds(hops: Sequence[Hop]) -> float:
    """The most that the ways between hops take: each is at most half of what both its ends are away."""
    return sum(hop.server.round_trip_seconds for hop in hops)


def _bare(kind: StepKind) -> StepRequest:
    """A step without hidden states, whose answer has none either."""
    return StepRequest(kind=kind, chunks=(), outputs=Outputs.NONE, answered_tokens=0)
