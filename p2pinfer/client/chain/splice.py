"""Putting new hops into a chain, in place of hops that are gone or about to leave.

The hops that stay keep their caches. Only the new hops get the history replayed (replay.py).

    old      client -- A -- B -- C -- client        B is gone
    new      client -- A -- X -- C -- client        seams: A-X and X-C

    prepare  C: steps will come from X              SetUpstream
             X: a session, whose outputs go to C    Session
    replay   A: replay to X                         SetDownstream; X says how far it has come
    commit   A: from now on everything goes to X    SetDownstream, switch
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from p2pinfer.client.chain.blame import blaming
from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.lane_end import LaneEnd
from p2pinfer.client.chain.replay import Replay, Tokens
from p2pinfer.client.chain.splice_plan import plan_splice
from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.errors import HopFailedError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.tasks import all_of
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Role
from p2pinfer.wire.opening import KEY_BYTES

_ANSWER_SECONDS = 5.0


class Splice:
    """New hops for a chain: opened, brought up to date, and made part of it, or abandoned.

    While a `warm` splice is prepared and replayed to, the chain stays as it is and goes on serving: only
    `commit` changes it.
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
        """`route` has a Hop for each hop of the chain that stays, and a HopServer for each new one."""
        self._chain = chain
        self._payer = payer
        self._warm = warm
        hops = [part if isinstance(part, Hop) else Hop(part, chain.carrier) for part in route]
        self._plan = plan_splice(chain.hops, chain.broken, hops)
        self._replay = Replay(chain, self._plan, embed)
        self._opened: dict[Hop, AsyncExitStack] = {}
        self._steps_lane: LaneEnd | None = None
        self._results_lane: LaneEnd | None = None
        for _, right in self._plan.seams:
            if right is not None and self._plan.stays(right):
                right.steps_key = os.urandom(KEY_BYTES)

    @property
    def fresh(self) -> list[Hop]:
        """The new hops, in order."""
        return list(self._plan.fresh)

    @property
    def replayed_tokens(self) -> int:
        """How many tokens of history were replayed to the new hops."""
        return self._replay.tokens

    async def prepare(self) -> None:
        """Open sessions at the new hops, and let their neighbours and the client's lanes expect them.

        Raises HopFailedError, RefusedError.
        """
        if not self._warm:
            self._break()
        plan = self._plan
        work: list[Coroutine[Any, Any, None]] = []
        for index, hop in enumerate(plan.hops):
            if hop in plan.fresh:
                work.append(blaming(self._open(index), index, plan.peers))
        for left, right in plan.seams:
            if right is not None and plan.stays(right):
                work.append(blaming(self._expect(right), plan.hops.index(right), plan.peers))
            if left is None and right is not None:
                work.append(self._dial_first(right))
            elif right is None and left is not None:
                work.append(self._dial_last(left))
        await all_of(*work)
        first, last = plan.hops[0], plan.hops[-1]  # they know the keys by now
        if self._steps_lane is not None:
            self._steps_lane.say_hello(Role.STEPS, first, first.steps_key)
        if self._results_lane is not None:
            self._results_lane.say_hello(Role.RESULTS, last, last.results_key)

    async def replay(self, held: Tokens) -> None:
        """Bring the new hops up to `held` while the old ones go on. Raises HopFailedError, RefusedError."""
        await self._replay.run(held, self._steps_lane, switch=False, wait=True)

    async def commit(self, held: Tokens) -> None:
        """Make the new hops part of the chain. No step may be under way.

        `held` has the tokens of each row that every hop of the chain has. Raises HopFailedError,
        RefusedError: the links between the chain and the hops that were to go are then lost.
        """
        self._break()
        # A warm hop lacks only the last few tokens: it computes them before the next step, which comes
        # behind them on the same lane.
        await self._replay.run(held, self._steps_lane, switch=True, wait=not self._warm)
        chain = self._chain
        gone = [hop for hop in chain.hops if hop not in self._plan.hops]
        old_lanes = [
            chain.steps_lane if self._steps_lane else None,
            chain.results_lane if self._results_lane else None,
        ]
        for left, _ in self._plan.seams:
            if left is not None:
                left.outputs_lost = None
        chain.resources.update(self._opened)
        self._opened = {}
        steps_lane = self._steps_lane or chain.steps_lane
        results_lane = self._results_lane or chain.results_lane
        assert steps_lane is not None
        assert results_lane is not None
        chain.install(self._plan.hops, steps_lane, results_lane)
        self._steps_lane = self._results_lane = None
        for hop in gone:
            await chain.drop(hop)
        for lane in old_lanes:
            if lane is not None:
                await lane.close()

    async def abandon(self) -> None:
        """End what was opened and did not become part of the chain. Abandoning twice is harmless."""
        opened, self._opened = self._opened, {}
        for resources in opened.values():
            await resources.aclose()
        for lane in (self._steps_lane, self._results_lane):
            if lane is not None:
                await lane.close()
        self._steps_lane = self._results_lane = None

    def _break(self) -> None:
        """Count the links that are remade as broken from here on, whether or not the splice succeeds."""
        self._chain.broken.update(dict.fromkeys(self._plan.cut))

    async def _open(self, index: int) -> None:
        hops = self._plan.hops
        downstream = None
        if index + 1 < len(hops):
            following = hops[index + 1]
            hops[index].next_is_direct = bool(following.server.address.endpoints)
            downstream = following.downstream(pass_history_on=following in self._plan.fresh)
        async with AsyncExitStack() as resources:
            await resources.enter_async_context(
                hops[index].open(self._chain.shape, self._payer, downstream, self._chain.on_news)
            )
            self._opened[hops[index]] = resources.pop_all()

    async def _expect(self, hop: Hop) -> None:
        """Let a hop that stays take its steps from a new neighbour."""
        request = pb.SetUpstreamRequest(session=hop.ref, steps_key=hop.steps_key, at_once=not self._warm)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._chain.carrier.set_upstream(hop.server.address, request)
        except TimeoutError as error:
            raise HopFailedError(hop.peer_id, "it does not answer", certain=False) from error

    async def _dial_first(self, hop: Hop) -> None:
        self._steps_lane = await LaneEnd.dial(self._chain.carrier, hop)

    async def _dial_last(self, hop: Hop) -> None:
        self._results_lane = await LaneEnd.dial(self._chain.carrier, hop)
