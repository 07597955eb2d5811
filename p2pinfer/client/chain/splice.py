"""Putting new hops into a chain, in place of those that are gone or about to go.

What is left of the chain keeps its caches. Only the new hops are fed the history: by the hop before the gap,
which keeps what it has sent, or by the client, which has the tokens, if the gap is at the beginning.

    old      client -- A -- B -- C -- client        B is gone
    new      client -- A -- X -- C -- client        seams: A-X and X-C

    prepare  C: steps will come from X              SetUpstream
             X: a session, whose outputs go to C    Session
    feed     A: replay to X                         SetDownstream; X says how far it has come
    commit   A: from now on everything goes to X    SetDownstream, switch
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

from p2pinfer.client.chain.chain import Chain, End, Link, blame
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.row_progress import history_steps
from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.reach.carrier import ClientLane
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.errors import HopFailedError, P2PInferError, RefusedError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.types import PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.lanes import Hello, Role
from p2pinfer.wire.opening import KEY_BYTES
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, pack_step

_ANSWER_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_STILL_SECONDS = 20.0
"""How long a replay may make no progress though everybody answers."""

Tokens = Sequence[list[int]]
"""The tokens of each row."""


class Splice:
    """New hops for a chain: opened, fed, and made part of it, or abandoned.

    Nothing of the chain changes before `commit`, if the splice is `warm`: the old hops go on serving.
    """

    def __init__(
        self,
        chain: Chain,
        route: Sequence[Hop | HopServer],
        *,
        payer: Payer,
        embed: Callable[[Sequence[int]], Hidden],
        warm: bool,
    ) -> None:
        """`route` has those of the chain's hops that stay, and the servers of those to come."""
        self._chain = chain
        self._payer = payer
        self._embed = embed
        self._warm = warm
        self._hops = [part if isinstance(part, Hop) else Hop(part, chain.carrier) for part in route]
        self._fresh = [hop for hop, part in zip(self._hops, route, strict=True) if hop is not part]
        self._opened: dict[Hop, AsyncExitStack] = {}
        self._steps: End | None = None
        self._results: End | None = None
        self._sent: Tokens = []  # history that the client itself has sent
        self._expected: dict[Hop, int] = dict.fromkeys(self._fresh, 0)
        self.replayed_tokens = 0

        old: list[Hop | None] = [None, *chain.hops, None]
        before = list(pairwise(old)) if chain.hops else []
        new: list[Hop | None] = [None, *self._hops, None]
        links: list[Link] = list(pairwise(new))
        self._seams = [link for link in links if link not in before or link in chain.broken]
        self._cut = [link for link in before if link not in links]
        for _, right in self._seams:
            if right is not None and right not in self._fresh:
                right.steps_key = os.urandom(KEY_BYTES)

    @property
    def fresh(self) -> list[Hop]:
        """The new hops, in order."""
        return list(self._fresh)

    async def prepare(self) -> None:
        """Open sessions at the new hops, and let their neighbours and ours expect them.

        Raises HopFailedError, RefusedError.
        """
        if not self._warm:
            self._break()
        peers = [hop.peer_id for hop in self._hops]
        work: list[Coroutine[Any, Any, None]] = []
        for index, hop in enumerate(self._hops):
            if hop in self._fresh:
                work.append(_blaming(self._open(index), index, peers))
        for left, right in self._seams:
            if right is not None and right not in self._fresh:
                work.append(_blaming(self._expect(right), self._hops.index(right), peers))
            if left is None and right is not None:
                work.append(self._dial_first(right))
            elif right is None and left is not None:
                work.append(self._dial_last(left))
        await _all(work)
        first, last = self._hops[0], self._hops[-1]  # which know the keys by now
        if self._steps is not None:
            _say_hello(self._steps.lane, Role.STEPS, first, first.steps_key)
        if self._results is not None:
            _say_hello(self._results.lane, Role.RESULTS, last, last.results_key)

    async def feed(self, held: Tokens, *, switch: bool) -> None:
        """Bring the new hops up to `held`, the tokens of each row that every hop of the chain has.

        With `switch` the old hops get nothing more. Raises HopFailedError, RefusedError.
        """
        self._expect_to_owe(held)
        feeding = asyncio.ensure_future(self._feed_all(held, switch=switch))
        try:
            await self._watch(feeding)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    def _expect_to_owe(self, held: Tokens) -> None:
        """Note how much history the new hops can be fed at most.

        A hop that stays sends all that it has computed, also what wasn't answered when the chain broke.
        """
        left: Hop | None = None
        for hop in self._hops:
            if hop in self._fresh:
                if left is None:
                    tokens = sum(map(len, held))
                elif left in self._fresh:
                    tokens = left.tally.history_tokens
                else:
                    shape = self._chain.shape
                    tokens = min(left.tally.most.tokens, shape.rows * shape.max_tokens)
                hop.tally.feed(tokens)
            left = hop

    async def commit(self, held: Tokens) -> None:
        """Make the new hops part of the chain; no step may be under way.

        Raises HopFailedError, RefusedError: the chain is then without the links that it had here.
        """
        self._break()
        await self.feed(held, switch=True)
        chain = self._chain
        gone = [hop for hop in chain.hops if hop not in self._hops]
        old_ends = [chain.steps if self._steps else None, chain.results if self._results else None]
        for left, _ in self._seams:
            if left is not None:
                left.outputs_lost = None
        chain.resources.update(self._opened)
        self._opened = {}
        steps, results = self._steps or chain.steps, self._results or chain.results
        assert steps is not None
        assert results is not None
        chain.install(self._hops, steps, results)
        self._steps = self._results = None
        for hop in gone:
            await chain.drop(hop)
        for end in old_ends:
            if end is not None:
                await end.resources.aclose()

    async def abandon(self) -> None:
        """End what was opened, unless it became part of the chain. Abandoning twice is harmless."""
        opened, self._opened = self._opened, {}
        for resources in opened.values():
            await resources.aclose()
        for end in (self._steps, self._results):
            if end is not None:
                await end.resources.aclose()
        self._steps = self._results = None

    def _break(self) -> None:
        """Those links of the chain that are remade can't be relied on from here on, whatever happens."""
        self._chain.broken.update(dict.fromkeys(self._cut))

    async def _open(self, index: int) -> None:
        hop = self._hops[index]
        downstream = None
        if index + 1 < len(self._hops):
            following = self._hops[index + 1]
            downstream = following.downstream(pass_history_on=following in self._fresh)
        async with AsyncExitStack() as resources:
            await resources.enter_async_context(
                hop.open(self._chain.shape, self._payer, downstream, self._chain.on_news)
            )
            self._opened[hop] = resources.pop_all()

    async def _expect(self, hop: Hop) -> None:
        """Let a hop that stays take its steps from a new neighbour."""
        request = pb.SetUpstreamRequest(session=hop.ref, steps_key=hop.steps_key, at_once=not self._warm)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._chain.carrier.set_upstream(hop.server.address, request)
        except TimeoutError as error:
            raise HopFailedError(hop.peer_id, "it does not answer", certain=False) from error

    async def _dial(self, hop: Hop) -> End:
        async with AsyncExitStack() as resources:
            lane = await resources.enter_async_context(self._chain.carrier.lane(hop.server.address))
            return End(lane, resources.pop_all())

    async def _dial_first(self, hop: Hop) -> None:
        self._steps = await self._dial(hop)

    async def _dial_last(self, hop: Hop) -> None:
        self._results = await self._dial(hop)

    async def _feed_all(self, held: Tokens, *, switch: bool) -> None:
        work: list[Coroutine[Any, Any, None]] = []
        for left, right in self._seams:
            if right is None or (left is not None and left in self._fresh):
                continue  # the client takes results as they come; a new hop passes on what it is fed
            if left is None:
                work.append(self._replay_own(right, held))
            elif switch or right in self._fresh:
                work.append(self._redirect(left, right, held, switch=switch))
        await _all(work)
        if self._warm and switch:
            return  # what little was missing is computed before the next step, which comes behind it
        peers = [hop.peer_id for hop in self._hops]
        for hop, tokens in self._expected.items():
            await _blaming(hop.wait_caught_up(tokens), self._hops.index(hop), peers)

    async def _redirect(self, left: Hop, right: Hop, held: Tokens, *, switch: bool) -> None:
        request = pb.SetDownstreamRequest(
            session=left.ref,
            downstream=right.downstream(pass_history_on=False),
            held=[] if right in self._fresh else [len(row) for row in held],
            switch=switch,
        )
        pair = [left.peer_id, right.peer_id]
        try:
            reply = await self._chain.carrier.set_downstream(left.server.address, request)
        except RefusedError as error:
            raise blame(error, 0, pair) from error
        self._expect_history(right, reply.tokens)

    async def _replay_own(self, right: Hop, held: Tokens) -> None:
        """Send the history from its tokens, to a new first hop."""
        if right not in self._fresh:
            return
        assert self._steps is not None
        shape = self._chain.shape
        try:
            for step in history_steps(held, self._sent, self._embed, right.max_step_tokens):
                frame = pack_step(0, StepKind.HISTORY, step, Outputs.NONE, shape.wire_dtype)
                await self._chain.carrier.deliver(self._steps.lane, frame)
                self._expect_history(right, sum(len(chunk.hidden) for chunk in step))
        except OSError as error:
            raise HopFailedError(right.peer_id, f"its lane broke: {error}", certain=False) from error
        self._sent = [list(row) for row in held]

    def _expect_history(self, first: Hop, tokens: int) -> None:
        """So many tokens more are on their way to this hop, and to the new ones behind it."""
        self.replayed_tokens += tokens
        for hop in self._hops[self._hops.index(first) :]:
            if hop not in self._fresh:
                break
            self._expected[hop] += tokens

    async def _watch(self, feeding: asyncio.Future[None]) -> None:
        """Wait for a replay for as long as everybody in it lives and something moves."""
        moved, still = -1, 0.0
        while True:
            await asyncio.wait({feeding}, timeout=_LOOK_SECONDS)
            if feeding.done():
                return feeding.result()
            involved = [hop for hop in self._hops if hop in self._fresh or self._feeds(hop)]
            answers = await asyncio.gather(*(hop.progress() for hop in involved), return_exceptions=True)
            for hop, answer in zip(involved, answers, strict=True):
                if answer is None:
                    raise HopFailedError(hop.peer_id, "it does not answer", certain=False)
                if isinstance(answer, BaseException):
                    raise answer
            caught_up = sum(hop.caught_up for hop in self._fresh)
            still = 0.0 if caught_up > moved else still + _LOOK_SECONDS
            moved = caught_up
            if still >= _STILL_SECONDS:
                late = next((hop for hop in involved if hop in self._fresh), involved[0])
                detail = f"no history arrived for {_STILL_SECONDS:.0f} s"
                raise HopFailedError(late.peer_id, detail, certain=False)

    def _feeds(self, hop: Hop) -> bool:
        return any(left is hop and right is not None for left, right in self._seams)


def _say_hello(lane: ClientLane, role: Role, hop: Hop, key: bytes) -> None:
    try:
        lane.send(Hello(role, hop.session_id, key).pack())
    except OSError as error:
        raise HopFailedError(hop.peer_id, f"its lane broke: {error}", certain=False) from error


async def _blaming(work: Coroutine[Any, Any, None], index: int, peers: Sequence[PeerId]) -> None:
    try:
        await work
    except P2PInferError as error:
        raise blame(error, index, peers) from error


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do everything at the same time; the first error ends the rest."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
