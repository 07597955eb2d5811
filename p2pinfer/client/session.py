"""One generation's session: rows of tokens in the caches of a chain of servers, which may change."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from p2pinfer.client.arguments.lengths import too_long
from p2pinfer.client.arguments.petals import session_attribute_hint
from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.pending_rows import PendingRows
from p2pinfer.client.chain.prefill import MAX_TOKENS_AHEAD, PlannedStep
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.failover.step_pipeline import StepPipeline, StepRequest
from p2pinfer.client.failover.unbroken_chain import UnbrokenChain
from p2pinfer.client.network import Network
from p2pinfer.client.patience import Patience
from p2pinfer.client.route.aim import Aim
from p2pinfer.errors import HopFailedError, P2PInferError, PromptTooLongError, RefusedError, UsageError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Hidden
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.types import PeerId, Span, Way
from p2pinfer.wire import inference_pb2 as pb


@dataclass(frozen=True, slots=True)
class HopReport:
    """What one hop of the latest route did, and how it was reached at the time of the report."""

    peer_id: PeerId
    layers: Span
    steps: int
    compute_seconds: float  # of these steps in all
    queue_seconds: float  # likewise
    way: Way | None = None
    """How its steps came: from this client to the first hop, else from the hop before, which says so itself.
    None: it doesn't say."""
    client_way: Way | None = None
    """How this client itself reaches it: for questions, and for the last hop's results."""


class InferenceSession:
    """Rows of tokens that a route of servers holds in its caches.

    `compute` gets each row's tokens from the beginning. Tokens that the servers hold already are not sent
    again, so several generate() calls on growing (or rewound) text share one cache. If a hop fails, another
    takes its place and gets the history replayed: the caller only sees a pause. If a hop announces that it
    leaves, its successor is prepared while it still serves, and there is no pause.

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
        aim: Aim = Aim.LATENCY,
    ) -> None:
        """Make a session; servers are asked at the first `compute`. Raises UsageError.

        `max_length` counts the tokens of one row; None: the model's limit, unless `limit_length` lowers it.
        """
        if max_length is not None and not (
            isinstance(max_length, int) and 1 <= max_length <= manifest.max_positions
        ):
            raise UsageError(
                f"max_length={max_length}: {manifest.name} takes from 1 to {manifest.max_positions} tokens"
            )
        self.max_length = max_length
        self._network = network
        self._manifest = manifest
        self._ends = ends
        self._wire_dtype = wire_dtype
        self._aim = aim
        self._held: list[list[int]] = []
        self._pending: PendingRows | None = None
        self._turn = threading.Lock()
        self._unbroken = UnbrokenChain(
            network, manifest, patience, embed=self._embed, held=self._held_by_all, turn=self._turn
        )
        self._pipeline: StepPipeline[PlannedStep] = StepPipeline(network, self._unbroken)
        self._closed = False

    def __enter__(self) -> InferenceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    if not TYPE_CHECKING:  # which goes on finding names that there are not

        def __getattr__(self, name: str) -> NoReturn:
            hint = session_attribute_hint(name)
            what = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(what if hint is None else f"{what}: {hint}", name=name, obj=self)

    @property
    def model(self) -> str:
        """The hash of the model's manifest."""
        return self._manifest.hash

    @property
    def tokens(self) -> list[list[int]]:
        """The rows that the servers hold now."""
        return [list(row) for row in self._held]

    @property
    def replayed_tokens(self) -> int:
        """Tokens of history that were replayed to new servers since the session began."""
        return self._unbroken.replayed_tokens

    @property
    def replaced_hops(self) -> int:
        """How often a server has taken the place of another since the session began."""
        return self._unbroken.replaced_hops

    @property
    def has_successor(self) -> bool:
        """True while servers with the history wait to take over, which they do before the next step."""
        return self._unbroken.handover.has_successor

    def report(self) -> list[HopReport]:
        """List the servers of the present route in order, with what each has done in this session."""
        chain = self._unbroken.chain
        if chain is None:
            return []
        ways = [(hop, chain.ways_to(hop)) for hop in chain.hops]
        return [
            HopReport(
                peer_id=hop.peer_id,
                layers=hop.server.hop.layers,
                steps=hop.step_count,
                compute_seconds=hop.compute_seconds,
                queue_seconds=hop.queue_seconds,
                way=way.steps,
                client_way=way.client,
            )
            for hop, way in ways
        ]

    def limit_length(self, max_length: int) -> None:
        """Set the length to lease, before the first tokens, if the session was made without a limit."""
        if self.max_length is None:
            self.max_length = min(max_length, self._manifest.max_positions)

    def new_tokens_that_fit(self, tokens: int) -> int:
        """Return how many new tokens a text of `tokens` can get: at least one, which needs no room itself.

        Raises PromptTooLongError if the text doesn't fit.
        """
        limit = self.max_length or self._manifest.max_positions
        if tokens > limit:
            if limit < self._manifest.max_positions:
                raise PromptTooLongError(
                    f"{tokens} tokens: the session was opened for {limit}; raise max_length"
                )
            raise too_long(tokens, limit=limit, model=self._manifest.name)
        return limit + 1 - tokens

    def compute(self, rows: Sequence[list[int]], wanted: Sequence[int]) -> list[Hidden]:
        """Return, per row, the last layer's hidden states [wanted, hidden] of its last tokens.

        `rows` are whole token rows; `wanted` is, per row, the number of trailing tokens whose states are
        returned, at least one. Raises PromptTooLongError; NoRouteError when layers are missing for too long;
        RefusedError and HopFailedError when no other server helps in time.
        """
        try:
            self._check(rows)
        except P2PInferError as error:
            error.rows = [list(row) for row in rows]
            raise
        if not self._turn.acquire(blocking=False):  # an idle session's hops are being switched
            self._network.run(self._unbroken.handover.finish_switch())
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
        chain = self._unbroken.chain  # the same object whatever happens to its hops
        if chain is None:
            self._held = [[] for _ in rows]
            chain = self._network.run(self._unbroken.open(self._shape(len(rows))))
        self._pending = pending = PendingRows(rows, wanted, self._held, self._embed)
        while True:
            try:
                if self._unbroken.handover.has_successor:
                    self._network.run(self._unbroken.handover.switch())
                self._run_steps(chain, pending)
                break
            except (HopFailedError, RefusedError) as error:
                self._network.run(self._unbroken.recover(error))
        self._held, self._pending = pending.held, None
        return pending.collected()

    def _run_steps(self, chain: Chain, pending: PendingRows) -> None:
        """Send the steps that have no answer yet, some of them ahead, and take the answers."""
        pipeline = self._pipeline
        pipeline.forget()
        for step in pending.plan(chain.max_step_tokens):
            while pipeline and pipeline.tokens_ahead + step.tokens > MAX_TOKENS_AHEAD:
                self._take(chain, pending)
            request = StepRequest(
                kind=step.kind,
                chunks=step.chunks,
                outputs=pending.outputs(step),
                answered_tokens=pending.answered_tokens(step),
            )
            pipeline.send(chain, request, step)
        while pipeline:
            self._take(chain, pending)

    def _take(self, chain: Chain, pending: PendingRows) -> None:
        answer = self._pipeline.take(chain)
        pending.take(answer.note, answer.hidden)

    def _drop(self) -> None:
        self._held, self._pending = [], None
        if self._network.is_running:  # else the servers free their memory when the lease ends
            self._network.run(self._unbroken.close())

    def _shape(self, rows: int) -> SessionShape:
        return SessionShape(
            model=self._manifest.hash,
            hidden_size=self._manifest.hidden_size,
            rows=rows,
            max_tokens=self.max_length or self._manifest.max_positions,
            wire_dtype=self._wire_dtype,
            aim=self._aim,
        )

    def _embed(self, tokens: Sequence[int]) -> Hidden:
        return self._ends.embed(np.asarray(tokens, dtype=np.int64))

    def _held_by_all(self) -> list[list[int]]:
        return self._held if self._pending is None else self._pending.held

    def _check(self, rows: Sequence[list[int]]) -> None:
        if self._closed:
            raise UsageError(
                "this session was closed, and its servers have freed their caches: "
                "keep one open with `with model.inference_session(max_length=...)`"
            )
        if self._held and len(rows) != len(self._held):
            raise UsageError(
                f"a batch of {len(rows)} in a session that began with {len(self._held)}: open another session"
            )
        self.new_tokens_that_fit(max((len(row) for row in rows), default=0))
