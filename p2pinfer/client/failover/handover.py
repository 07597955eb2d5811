"""Replacing hops that leave or have become slow while they still serve, so that the reader sees no pause."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.splice import Splice
from p2pinfer.client.failover.mending import POLL_SECONDS, Mender
from p2pinfer.client.failover.replacements import Replacements, kept_hop
from p2pinfer.client.pace.judging import Slow
from p2pinfer.client.route.experience import life_of
from p2pinfer.client.trust.reputation import Offence
from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError
from p2pinfer.tasks import cancel_and_wait

logger = logging.getLogger(__name__)

_IDLE_SWITCH_SECONDS = 0.25
_SLOW_AGAIN_SECONDS = 10.0
_SHARED_SUSPICION = 0.5
_MOST_SUCCESSORS = 4
"""So many are tried in the place of a slow hop, one after the other, until it is looked at again."""


class Handover:
    """Warms successors for a chain's hops, and lets them take over between two steps."""

    def __init__(self, replacements: Replacements, mender: Mender, turn: threading.Lock) -> None:
        """`turn` is held while a step is under way; a hand-over takes it to switch an idle session."""
        self._replacements = replacements
        self._network = replacements.network
        self._mender = mender
        self._turn = turn
        self._successor: Splice | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._is_chain_changing = False
        self._slow_checked_at = float("-inf")
        self._failed = 0  # successors that could not be prepared, lately
        self._slow_checked_hops: list[Hop] | None = None
        self._said_leaving: weakref.WeakSet[Hop] = weakref.WeakSet()

    @property
    def has_successor(self) -> bool:
        """True while warm hops wait to take over between two steps. Any thread may ask."""
        return self._successor is not None

    def look_at_departures(self) -> None:
        """Prepare a successor if a hop has announced that it leaves."""
        chain = self._replacements.chain
        leaving = [hop for hop in chain.hops if hop.draining] if chain is not None else []
        for hop in leaving:
            if hop not in self._said_leaving:
                self._said_leaving.add(hop)
                self._network.directory.experience.says_it_leaves(
                    life_of(hop.server.record), hop.draining_seconds
                )
        if leaving:
            self._start()

    def look_at_pace(self, slow: Sequence[Slow] = ()) -> None:
        """Look for a better route if a hop has become slow, or was `slow` from the beginning.

        At most every ten seconds for the same hops.
        """
        chain = self._replacements.chain
        if chain is None:
            return
        is_again = chain.hops is self._slow_checked_hops
        if is_again and self._network.now() - self._slow_checked_at < _SLOW_AGAIN_SECONDS:
            return
        self._slow_checked_at, self._slow_checked_hops = self._network.now(), chain.hops
        found = {one.hop: one for one in slow}
        experience = self._network.directory.experience
        context_tokens = sum(map(len, self._replacements.held()))
        for index, hop in enumerate(chain.hops):
            one = found.get(index)
            seconds = one.seconds if one is not None else hop.pace.slow_seconds or hop.pace.latest
            if seconds is not None:
                experience.measured(
                    life_of(hop.server.record),
                    seconds / len(hop.server.hop.layers),
                    context_tokens,
                    rows=chain.shape.rows,
                    is_slow=one is not None or hop.pace.slow_seconds is not None,
                )
        for one in slow:
            self._doubt(chain.hops, one)
        self._start()

    def _doubt(self, hops: Sequence[Hop], slow: Slow) -> None:
        """Remember a hop that is slower than it says. The hops behind it pass its own figures on.

        Where one of them is unknown it may have changed them, and everybody shares the doubt. So do all where
        no hop reports the time. A hop that says others wait there is only busy.
        """
        experience = self._network.directory.experience
        behind = [life_of(hop.server.record) for hop in hops[slow.hop + 1 :]]
        life = life_of(hops[slow.hop].server.record)
        if not slow.is_reported:
            experience.suspect(life, _SHARED_SUSPICION)
        elif not slow.is_queue:
            strangers = [other for other in behind if not experience.is_known(other)]
            if not strangers:
                experience.offended(life, Offence.SLOW)
            for other in strangers:
                experience.suspect(other, _SHARED_SUSPICION)

    @asynccontextmanager
    async def set_aside(self) -> AsyncIterator[None]:
        """Forget what is prepared, and prepare nothing while the block mends the chain."""
        self._is_chain_changing = True
        try:
            await self.forget()
            yield
        finally:
            self._is_chain_changing = False
        self.look_at_departures()  # a hop that leaves still needs a successor

    async def switch(self) -> None:
        """Let the successor take over; no step is under way. Raises HopFailedError, RefusedError."""
        splice, self._successor = self._successor, None
        if splice is None:
            return
        self._is_chain_changing = True
        try:
            await splice.commit(self._replacements.held())
        except (HopFailedError, RefusedError) as error:
            self._mender.note(error, [hop.server for hop in splice.fresh])
            raise
        else:
            self._replacements.count(splice)
            logger.info("handed over to %s", ", ".join(hop.peer_id for hop in splice.fresh))
        finally:
            await splice.abandon()
            self._is_chain_changing = False
        self.look_at_departures()  # another hop may wait to be replaced

    async def finish_switch(self) -> None:
        """Wait for the switch of an idle session that is under way."""
        if self._preparing is not None:
            await asyncio.wait({self._preparing})

    async def forget(self) -> None:
        """End the successor, and the preparation of one."""
        if self._preparing is not asyncio.current_task():
            await cancel_and_wait(self._preparing)
        splice, self._successor = self._successor, None
        if splice is not None:
            await splice.abandon()

    def _start(self) -> None:
        if self._preparing is None and self._successor is None and not self._is_chain_changing:
            self._preparing = asyncio.create_task(self._hand_over())
            self._preparing.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._preparing = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            logger.warning("no successor could be prepared: %r", error)
        else:
            self.look_at_departures()  # another hop may wait to be replaced

    async def _hand_over(self) -> None:
        """Warm a successor for the hops that leave or are slow.

        The next step lets it take over. If none comes, the idle session is switched here.
        """
        splice: Splice | None = None
        self._failed = 0
        while splice is None:
            chain, failed = self._replacements.chain, self._failed
            if chain is None:
                return
            splice = await self._warm(chain, [hop for hop in chain.hops if hop.draining])
            if splice is None:
                if any(hop.draining for hop in chain.hops):
                    await asyncio.sleep(POLL_SECONDS)
                elif not failed < self._failed <= _MOST_SUCCESSORS:
                    return  # nothing better than a slow hop
        self._successor = splice
        while self._successor is splice:
            await asyncio.sleep(_IDLE_SWITCH_SECONDS)
            if self._successor is splice and self._turn.acquire(blocking=False):
                try:
                    await self.switch()
                except (HopFailedError, RefusedError) as error:  # the next step meets it as well
                    logger.info("no hand-over: %s", error)
                finally:
                    self._turn.release()

    async def _warm(self, chain: Chain, leaving: Sequence[Hop]) -> Splice | None:
        """Open hops for a better route and replay to them; None if there is no such route now."""
        try:
            route = await self._replacements.route(
                [hop for hop in chain.hops if hop not in leaving], without=[hop.peer_id for hop in leaving]
            )
        except NoRouteError as error:
            logger.debug("no successor yet: %s", error)
            return None
        if any(server.hop.held and kept_hop(chain, server) is None for server in route):
            return None  # it was lost meanwhile, and the next step has it replaced
        splice = self._replacements.splice(chain, route, warm=True)
        if not splice.fresh:
            return None
        try:
            async with AsyncExitStack() as otherwise:
                otherwise.push_async_callback(splice.abandon)
                await splice.prepare()
                await splice.replay(self._replacements.held())
                otherwise.pop_all()
        except (HopFailedError, RefusedError) as error:
            logger.info("successor not taken: %s", error)
            self._failed += 1
            self._mender.note(error, route)
            return None
        return splice
