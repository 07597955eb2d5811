"""One generation's session: rows of tokens that a chain of servers holds, whoever they are."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.deadlines import StepTimes
from p2pinfer.client.chain.failover import Keeper, Patience
from p2pinfer.client.chain.hop import SessionShape
from p2pinfer.client.chain.prefill import MAX_TOKENS_AHEAD, PlannedStep
from p2pinfer.client.chain.row_progress import Feed
from p2pinfer.client.network import Network
from p2pinfer.errors import HopFailedError, P2PInferError, PromptTooLongError, RefusedError, UsageError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Hidden
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.types import PeerId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.step_kind import StepKind


@dataclass(frozen=True, slots=True)
class HopReport:
    """What one hop of the latest route did: `seconds` are of compute and of waiting in its queue."""

    peer_id: PeerId
    layers: Span
    steps: int
    compute_seconds: float
    queue_seconds: float


class _Sent(NamedTuple):
    step: PlannedStep
    step_id: int
    at: float


class InferenceSession:
    """Rows of tokens that a route of servers holds in its caches.

    `compute` is given each row's tokens from the beginning; what the servers hold already is not
    sent again, so that several generate() calls on growing (or rewound) text share one cache. If a
    hop fails, another takes its place and is fed the history: the caller sees a pause, no more. If one
    announces that it leaves, its successor is fed while it still serves, and no pause is seen.

    A session is for one thread at a time; sessions in different threads are independent.
    """

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        ends: ClientEnds,
        *,
        max_length: int | None,
        patience: Patience,
        wire_dtype: pb.WireDtype = pb.FLOAT32,
    ) -> None:
        if max_length is not None and not 1 <= max_length <= manifest.max_positions:
            raise UsageError(
                f"max_length={max_length}: {manifest.name} takes from 1 to {manifest.max_positions} tokens"
            )
        self.max_length = max_length
        self._network = network
        self._manifest = manifest
        self._ends = ends
        self._wire_dtype = wire_dtype
        self._held: list[list[int]] = []
        self._feed: Feed | None = None
        self._times = StepTimes()
        self._turn = threading.Lock()
        self._keeper = Keeper(
            network, manifest, patience, embed=self._embed, held=self._held_by_all, turn=self._turn
        )
        self._closed = False

    def __enter__(self) -> InferenceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tokens(self) -> list[list[int]]:
        """The rows that the servers hold now."""
        return [list(row) for row in self._held]

    @property
    def replayed_tokens(self) -> int:
        """Tokens that servers were fed again because others left, since the session began."""
        return self._keeper.replayed_tokens

    @property
    def replaced_hops(self) -> int:
        """How often a server has taken another's place since the session began."""
        return self._keeper.replaced_hops

    def report(self) -> list[HopReport]:
        """Who computes now, hop by hop, and what each has done in this session."""
        chain = self._keeper.chain
        return [
            HopReport(hop.peer_id, hop.server.hop.layers, hop.steps, hop.compute_seconds, hop.queue_seconds)
            for hop in (chain.hops if chain is not None else [])
        ]

    def limit_length(self, max_length: int) -> None:
        """Set what to lease, before the first tokens, if the session was made without a limit."""
        if self.max_length is None:
            self.max_length = min(max_length, self._manifest.max_positions)

    def compute(self, rows: Sequence[list[int]], wanted: Sequence[int]) -> list[Hidden]:
        """Return, per row, the last layer's hidden states [wanted, hidden] of its last tokens.

        `rows` are whole token rows; `wanted` says of how many trailing tokens of each the states
        are asked for, at least one. Raises PromptTooLongError; NoRouteError when layers are missing for
        too long; RefusedError and HopFailedError when no other server helped in time.
        """
        if self._closed:
            raise UsageError("this session was closed: open a new one")
        self._check(rows)
        if not self._turn.acquire(blocking=False):  # hops are being switched
            self._network.run(self._keeper.finish_switch())
            self._turn.acquire()
        try:
            return self._compute(rows, wanted)
        except P2PInferError as error:
            error.rows = [list(row) for row in rows]
            self._drop()
            raise
        except BaseException:
            self._drop()  # what the servers hold is no longer known
            raise
        finally:
            self._turn.release()

    def close(self) -> None:
        """Free the servers' caches. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._drop()

    def _compute(self, rows: Sequence[list[int]], wanted: Sequence[int]) -> list[Hidden]:
        if self._keeper.chain is None:
            self._held = [[] for _ in rows]
            self._network.run(self._keeper.open(self._shape(len(rows))))
        self._feed = feed = Feed(rows, wanted, self._held, self._embed)
        while True:
            try:
                if self._keeper.has_successor:
                    self._network.run(self._keeper.switch())
                assert self._keeper.chain is not None
                self._run_steps(self._keeper.chain, feed)
                break
            except (HopFailedError, RefusedError) as error:
                self._network.run(self._keeper.recover(error))
        self._held, self._feed = feed.held, None
        return feed.collected()

    def _run_steps(self, chain: Chain, feed: Feed) -> None:
        """Send what has no answer yet, some tokens ahead, and take the answers."""
        under_way: deque[_Sent] = deque()
        tokens_ahead = 0
        last_answer = 0.0

        def take_one() -> None:
            nonlocal tokens_ahead, last_answer
            step, step_id, sent_at = under_way.popleft()
            overdue = self._times.overdue_seconds(step.kind, tokens=step.tokens)
            result = chain.receive(step_id, tokens=feed.answered_tokens(step), overdue_seconds=overdue)
            now = self._network.now()
            self._times.add(step.kind, tokens=step.tokens, seconds=now - max(sent_at, last_answer))
            last_answer = now
            tokens_ahead -= step.tokens
            feed.take(step, result.hidden)
            self._keeper.progressed()
            self._count(chain, result.hop_seconds, step.kind)

        for step in feed.plan(chain.max_step_tokens):
            while under_way and tokens_ahead + step.tokens > MAX_TOKENS_AHEAD:
                take_one()
            tokens_ahead += step.tokens
            step_id = chain.send(step.kind, step.chunks, feed.outputs(step))
            under_way.append(_Sent(step, step_id, self._network.now()))
        while under_way:
            take_one()

    def _count(self, chain: Chain, hop_seconds: Sequence[tuple[float, float]], kind: StepKind) -> None:
        slow = False
        for hop, (queue, compute) in zip(chain.hops, hop_seconds, strict=True):
            hop.count(kind, queue, compute)
            slow = slow or hop.pace.slow_seconds is not None
        if slow:
            self._network.call_soon(self._keeper.look_at_pace)

    def _drop(self) -> None:
        self._held, self._feed = [], None
        if self._network.is_running:  # else the servers take their memory back when the lease ends
            self._network.run(self._keeper.close())

    def _shape(self, rows: int) -> SessionShape:
        return SessionShape(
            model=self._manifest.hash,
            hidden_size=self._manifest.hidden_size,
            rows=rows,
            max_tokens=self.max_length or self._manifest.max_positions,
            wire_dtype=self._wire_dtype,
        )

    def _embed(self, tokens: Sequence[int]) -> Hidden:
        return self._ends.embed(np.asarray(tokens, dtype=np.int64))

    def _held_by_all(self) -> list[list[int]]:
        return self._held if self._feed is None else self._feed.held

    def _check(self, rows: Sequence[list[int]]) -> None:
        if self._held and len(rows) != len(self._held):
            raise UsageError(f"the session holds {len(self._held)} sequences, not {len(rows)}: open another")
        longest = max((len(row) for row in rows), default=0)
        limit = self.max_length or self._manifest.max_positions
        if longest > limit:
            raise PromptTooLongError(
                f"{longest} tokens: the session was opened for {limit}; raise max_length"
                if limit < self._manifest.max_positions
                else f"{longest} tokens: {self._manifest.name} takes at most {limit}; shorten the text"
            )
