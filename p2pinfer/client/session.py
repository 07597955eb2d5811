"""One generation's session: keeps the tokens, feeds the route, and starts over on another if it breaks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np

from p2pinfer.client.chain import Chain, SessionShape, open_chain
from p2pinfer.client.network import Network
from p2pinfer.client.prefill import PREFILL_STEP_TOKENS, common_prefix, plan_steps
from p2pinfer.client.recovery import after_failure
from p2pinfer.errors import (
    HopFailedError,
    NoRouteError,
    P2PInferError,
    PromptTooLongError,
    RefusedError,
    UsageError,
)
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Hidden
from p2pinfer.model.manifest import Manifest
from p2pinfer.types import PeerId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import Reason
from p2pinfer.wire.steps import Outputs, RowChunk

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_STEPS_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class HopReport:
    """What one hop of the latest route did: `seconds` are of compute and of waiting in its queue."""

    peer_id: PeerId
    layers: Span
    steps: int
    compute_seconds: float
    queue_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client waits, in seconds."""

    route: float = 60.0  # for servers of all layers to be there
    step: float = 30.0  # for one step


class InferenceSession:
    """Rows of tokens that a route of servers holds in its caches.

    `compute` is given each row's tokens from the beginning; what the servers hold already is not
    sent again, so that several generate() calls on growing (or rewound) text share one cache. If a
    hop fails, another route is opened and fed the tokens anew: the caller sees a pause, no more.

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
        self._patience = patience
        self._wire_dtype = wire_dtype
        self._chain: Chain | None = None
        self._resources = AsyncExitStack()
        self._held: list[list[int]] = []
        self._hop_seconds: list[tuple[float, float]] = []
        self._steps = 0
        self._last_error: P2PInferError | None = None
        self._closed = False

    def __enter__(self) -> InferenceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tokens(self) -> list[list[int]]:
        """The rows that the servers hold now."""
        return [list(row) for row in self._held]

    def report(self) -> list[HopReport]:
        """Who computed what since the route was opened, hop by hop."""
        if self._chain is None:
            return []
        return [
            HopReport(server.hop.peer_id, server.hop.layers, self._steps, compute, queue)
            for server, (queue, compute) in zip(self._chain.servers, self._hop_seconds, strict=True)
        ]

    def limit_length(self, max_length: int) -> None:
        """Set what to lease, before the first tokens, if the session was made without a limit."""
        if self.max_length is None:
            self.max_length = min(max_length, self._manifest.max_positions)

    def compute(self, rows: Sequence[list[int]], wanted: Sequence[int]) -> list[Hidden]:
        """Return, per row, the last layer's hidden states [wanted, hidden] of its last tokens.

        `rows` are whole token rows; `wanted` says of how many trailing tokens of each the states
        are asked for, at least one. Raises PromptTooLongError, NoRouteError, RefusedError.
        """
        if self._closed:
            raise UsageError("this session was closed: open a new one")
        self._check(rows)
        deadline = time.monotonic() + self._patience.route
        while True:
            try:
                if self._chain is None:
                    self._chain = self._network.run(self._open(len(rows), deadline))
                return self._feed(self._chain, rows, wanted)
            except (HopFailedError, RefusedError) as error:
                self._network.run(self._recover(error, deadline))
            except BaseException:
                self._network.run(self._drop_route())  # what the servers hold is no longer known
                raise

    def close(self) -> None:
        """Free the servers' caches. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._network.run(self._drop_route())

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

    async def _recover(self, error: HopFailedError | RefusedError, deadline: float) -> None:
        """Drop the route and let another be tried; raise the error if that can't help or takes too long."""
        hops = [] if self._chain is None else [server.hop.peer_id for server in self._chain.servers]
        await self._drop_route()
        self._network.directory.doubt(hops)
        reroute = after_failure(error)
        if reroute is None or time.monotonic() > deadline:
            raise error
        logger.info("rerouting: %s", error)
        if reroute.avoid is not None:
            self._network.directory.avoid(reroute.avoid, reroute.avoid_seconds)
        self._last_error = error

    async def _open(self, rows: int, deadline: float) -> Chain:
        """Find a route and open it; wait for missing layers to appear until the deadline."""
        told: str | None = None
        while True:
            try:
                servers = await self._network.directory.route()
                break
            except NoRouteError as error:
                if isinstance(self._last_error, RefusedError) and self._last_error.reason == Reason.TOO_LONG:
                    raise self._last_error from error
                if time.monotonic() + _POLL_SECONDS > deadline:
                    waited = f"{error} (waited {self._patience.route:.0f} s; `timeout` sets how long)"
                    raise NoRouteError(await self._explain(waited), error.missing) from self._last_error
                if told != str(error):
                    logger.warning("%s; waiting for servers to join", error)
                    told = str(error)
                await asyncio.sleep(_POLL_SECONDS)
        shape = SessionShape(
            model=self._manifest.hash,
            hidden_size=self._manifest.hidden_size,
            rows=rows,
            max_tokens=self.max_length or self._manifest.max_positions,
            wire_dtype=self._wire_dtype,
        )
        chain = await self._resources.enter_async_context(
            open_chain(
                servers,
                shape,
                pool=self._network.pool,
                identity=self._network.identity,
                step_seconds=self._patience.step,
            )
        )
        self._held = [[] for _ in range(rows)]
        self._hop_seconds = [(0.0, 0.0) for _ in servers]
        self._steps = 0
        return chain

    async def _explain(self, message: str) -> str:
        """Add what the swarm serves instead, if it doesn't know this model at all."""
        listings = await self._network.directory.swarm.models()
        if any(listing.model == self._manifest.hash for listing in listings):
            return message
        others = ", ".join(sorted({f"{listing.model_name} ({listing.model[:12]})" for listing in listings}))
        return (
            f"{message}; nobody here serves {self._manifest.name} ({self._manifest.hash[:12]}); "
            f"the swarm serves: {others or 'nothing yet'}"
        )

    def _feed(self, chain: Chain, rows: Sequence[list[int]], wanted: Sequence[int]) -> list[Hidden]:
        """Send what the servers lack, and gather what was asked for."""
        chunks = []
        for index, (row, count) in enumerate(zip(rows, wanted, strict=True)):
            start = min(common_prefix(self._held[index], row), len(row) - count)
            hidden = self._ends.embed(np.asarray(row[start:], dtype=np.int64))
            chunks.append(RowChunk(index, start, hidden))
        everything = any(count > 1 for count in wanted)
        steps = plan_steps(chunks, min(PREFILL_STEP_TOKENS, chain.max_step_tokens))
        collected: list[list[Hidden]] = [[] for _ in rows]
        in_flight: list[tuple[int, int]] = []  # index into steps, step id

        def take_one() -> None:
            index, step_id = in_flight.pop(0)
            step, outputs = steps[index], kinds[index]
            sizes = [len(chunk.hidden) if outputs is Outputs.ALL else 1 for chunk in step.chunks]
            result = chain.receive(step_id, 0 if outputs is Outputs.NONE else sum(sizes))
            self._count(result.hop_seconds)
            if outputs is Outputs.NONE:
                return
            start = 0
            for chunk, size, final in zip(step.chunks, sizes, step.final, strict=True):
                if outputs is Outputs.ALL or final:
                    collected[chunk.row].append(result.hidden[start : start + size])
                start += size

        kinds = [
            Outputs.ALL if everything else Outputs.LAST if any(step.final) else Outputs.NONE for step in steps
        ]
        for index, step in enumerate(steps):
            if len(in_flight) == _STEPS_IN_FLIGHT:
                take_one()
            in_flight.append((index, chain.send(step.chunks, kinds[index])))
        while in_flight:
            take_one()
        self._held = [list(row) for row in rows]
        return [
            np.concatenate(parts)[-count:] if len(parts) > 1 else parts[0][-count:]
            for parts, count in zip(collected, wanted, strict=True)
        ]

    def _count(self, hop_seconds: Sequence[tuple[float, float]]) -> None:
        self._steps += 1
        self._hop_seconds = [
            (queue + more_queue, compute + more_compute)
            for (queue, compute), (more_queue, more_compute) in zip(
                self._hop_seconds, hop_seconds, strict=True
            )
        ]

    async def _drop_route(self) -> None:
        self._chain = None
        resources, self._resources = self._resources, AsyncExitStack()
        await resources.aclose()
