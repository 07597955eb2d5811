"""Keeps a session's chain whole: opens it, mends it, and hands over hops that leave or have become slow.

Decided elsewhere: which peers (routing.py), what to do about an error (recovery.py), how hops come and go
(splice.py). Everything here runs in the network's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.hop import Hop, SessionShape
from p2pinfer.client.chain.recovery import DOUBTED_PEER_SECONDS, FAILED_LINK_SECONDS, after_failure
from p2pinfer.client.chain.row_progress import Embed
from p2pinfer.client.chain.splice import Splice
from p2pinfer.client.network import Network
from p2pinfer.client.route.experience import run_of
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError, SwarmError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_FRESH_RECORDS_SECONDS = 15.0
_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 2.0
_IDLE_SWITCH_SECONDS = 0.25
_SLOW_AGAIN_SECONDS = 10.0
_RECOVERED_TOKENS = 16
"""While the reader waits only what is missing is replaced, unless another server is much better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client waits, in seconds."""

    route: float = 60.0  # for servers of all layers to be there
    step: float = 30.0  # for one step, of a hop that says it is working on it


class Keeper:
    """The chain of one session, over all its changes."""

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        patience: Patience,
        *,
        embed: Embed,
        held: Callable[[], list[list[int]]],
        turn: threading.Lock,
    ) -> None:
        """`held` tells the tokens of each row that every hop has; `turn` is taken by who steps, or switches
        while nobody does."""
        self.chain: Chain | None = None
        self.replayed_tokens = 0
        self.replaced_hops = 0
        self._network = network
        self._manifest = manifest
        self._patience = patience
        self._embed = embed
        self._held = held
        self._turn = turn
        self._numerics: str | None = None
        self._trouble_since: float | None = None
        self._attempts = 0
        self._last_error: HopFailedError | RefusedError | None = None
        self._successor: Splice | None = None
        self._changing = False
        self._handover: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._slow_checked_at = float("-inf")

    @property
    def has_successor(self) -> bool:
        """True if hops wait that should take over between two steps. Any thread may ask."""
        return self._successor is not None

    def progressed(self) -> None:
        """A step was answered: patience begins anew. Any thread may say so."""
        self._trouble_since = None
        self._attempts = 0

    async def open(self, shape: SessionShape) -> Chain:
        """Find a route for a session and open it; wait for missing layers to appear.

        Raises NoRouteError, HopFailedError, RefusedError.
        """
        chain = Chain(
            shape,
            self._network.carrier,
            run=self._network.run,
            now=self._network.now,
            on_news=self._on_news,
            step_seconds=self._patience.step,
        )
        self.chain = chain
        self._numerics = None
        self._reading = asyncio.create_task(self._network.directory.keep_fresh(_FRESH_RECORDS_SECONDS))
        await self._mend(chain, None)
        self._on_news()  # a hop may have said so early that it leaves
        return chain

    async def recover(self, error: HopFailedError | RefusedError) -> None:
        """Put others into the place of the hops that failed. Raises what no other route would help against,
        NoRouteError if there is none for too long, or the last error if patience ends in another way."""
        assert self.chain is not None
        self._changing = True  # what is broken gets no successor, but others in its place
        try:
            await self._forget_successor()
            logger.info("rerouting: %s", error)
            await self._mend(self.chain, error)
        finally:
            self._changing = False
        self._on_news()  # what was prepared before is forgotten: a hop that leaves still needs a successor

    async def switch(self) -> None:
        """Let the successor take over; no step is under way. Raises HopFailedError, RefusedError."""
        splice, self._successor = self._successor, None
        if splice is None:
            return
        self._changing = True  # no successor is prepared for a chain that is about to be another
        try:
            await splice.commit(self._held())
        except (HopFailedError, RefusedError) as error:
            self._note(error, [hop.server for hop in splice.fresh])
            raise
        else:
            self._count(splice)
            logger.info("handed over to %s", ", ".join(hop.peer_id for hop in splice.fresh))
        finally:
            await splice.abandon()
            self._changing = False
        self._on_news()  # another hop may wait to be replaced

    async def finish_switch(self) -> None:
        """Wait for a switch that is under way."""
        if self._handover is not None:
            await asyncio.wait({self._handover})

    def look_at_pace(self) -> None:
        """A hop has become slow: see if there is a better route."""
        if self.chain is None or self._network.now() - self._slow_checked_at < _SLOW_AGAIN_SECONDS:
            return
        self._slow_checked_at = self._network.now()
        for hop in self.chain.hops:
            if (seconds := hop.pace.slow_seconds) is not None:
                self._network.directory.experience.measured(
                    run_of(hop.server.record), seconds / len(hop.server.hop.layers)
                )
        self._start_handover()

    async def close(self) -> None:
        """End all sessions."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        await self._forget_successor()
        chain, self.chain = self.chain, None
        if chain is not None:
            await chain.close()

    async def _mend(self, chain: Chain, error: HopFailedError | RefusedError | None) -> None:
        """Splice until there is a whole chain; `error` says what is wrong with it, None: it is new."""
        replace: PeerId | None = None
        if self._trouble_since is None:
            self._trouble_since = self._network.now()
        deadline = self._trouble_since + self._patience.route
        asked = [hop.server for hop in chain.hops]
        while True:
            if error is not None:
                replace = self._note(error, asked)
                if self._network.now() > deadline:
                    raise error
                await self._pause()
            lost = [hop for hop in chain.hops if hop.failure is not None or hop.peer_id == replace]
            for hop in lost:
                hop.failure = hop.failure or error  # it stays lost if this attempt fails as well
                await chain.drop(hop)
            route = asked = await self._find_route(chain, lost, deadline)
            try:
                await self._rebuild(chain, route, lost)
                break
            except (HopFailedError, RefusedError) as next_error:
                logger.info("rerouting again: %s", next_error)
                error = next_error

    def _note(self, error: HopFailedError | RefusedError, asked: Sequence[HopServer]) -> PeerId | None:
        """Remember what one of the servers `asked` has said or done; returns whose hop has to be replaced.

        Raises an error that nothing helps against.
        """
        self._last_error = error
        remedy = after_failure(error)
        if remedy is None:
            raise error
        experience = self._network.directory.experience
        for server in asked:  # not whoever has started there since
            if server.hop.peer_id == remedy.avoid:
                experience.avoid(run_of(server.record), remedy.avoid_seconds)
            if server.hop.peer_id == remedy.doubt:
                experience.doubt(run_of(server.record), DOUBTED_PEER_SECONDS)
        if remedy.avoid_link is not None:
            experience.avoid_link(*remedy.avoid_link, FAILED_LINK_SECONDS)
        return remedy.replace

    async def _pause(self) -> None:
        """After the first failure go on at once, then ever more slowly."""
        self._attempts += 1
        if self._attempts > 2:
            seconds = _FIRST_RETRY_SECONDS * 2 ** min(self._attempts - 3, 10)
            await asyncio.sleep(min(seconds, _LONGEST_RETRY_SECONDS))

    async def _rebuild(self, chain: Chain, route: list[HopServer], lost: list[Hop]) -> None:
        """One attempt to make this route of what is left."""
        splice = self._splice(chain, route, warm=False)
        try:
            await splice.prepare()
            await splice.commit(self._held())
        finally:
            await splice.abandon()
        self._numerics = chain.hops[0].server.record.numerics
        if lost:
            self._count(splice)

    async def _find_route(self, chain: Chain, lost: list[Hop], deadline: float) -> list[HopServer]:
        """The best route; waits for missing layers to appear."""
        told: str | None = None
        while True:
            left = [hop for hop in chain.hops if hop not in lost and hop.failure is None]
            try:
                return await self._network.directory.route(
                    held=[hop.server for hop in left],
                    numerics=self._numerics,
                    tokens=sum(map(len, self._held())),
                    tokens_to_come=_RECOVERED_TOKENS,
                )
            except NoRouteError as error:
                last = self._last_error
                if isinstance(last, RefusedError) and last.reason == Reason.TOO_LONG:
                    raise last from error
                if self._network.now() + _POLL_SECONDS > deadline:
                    waited = f"{error} (waited {self._patience.route:.0f} s; `timeout` sets how long)"
                    raise NoRouteError(await self._explain(waited), error.missing) from last
                if told != str(error):
                    logger.warning("%s; waiting for servers to join", error)
                    told = str(error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _explain(self, message: str) -> str:
        """Add what the swarm serves instead, if it doesn't know this model at all."""
        try:
            listings = await self._network.directory.swarm.models()
        except SwarmError:
            return message
        if any(listing.model == self._manifest.hash for listing in listings):
            return message
        others = ", ".join(sorted({f"{listing.model_name} ({listing.model[:12]})" for listing in listings}))
        return (
            f"{message}; nobody here serves {self._manifest.name} ({self._manifest.hash[:12]}); "
            f"the swarm serves: {others or 'nothing yet'}"
        )

    def _splice(self, chain: Chain, route: Sequence[HopServer], *, warm: bool) -> Splice:
        parts = [self._hop_of(chain, server) or server for server in route]
        return Splice(chain, parts, payer=self._network.payer, embed=self._embed, warm=warm)

    def _hop_of(self, chain: Chain, server: HopServer) -> Hop | None:
        """The hop that a route means to keep; None if it is to be a new one, or was lost meanwhile."""
        for hop in chain.hops if server.hop.held else []:
            if (hop.peer_id, hop.server.hop.layers) == (server.hop.peer_id, server.hop.layers):
                return None if hop.failure is not None else hop
        return None

    def _count(self, splice: Splice) -> None:
        self.replayed_tokens += splice.replayed_tokens
        self.replaced_hops += len(splice.fresh)

    def _on_news(self) -> None:
        if self.chain is not None and any(hop.draining for hop in self.chain.hops):
            self._start_handover()

    def _start_handover(self) -> None:
        if self._handover is None and self._successor is None and not self._changing:
            self._handover = asyncio.create_task(self._hand_over())
            self._handover.add_done_callback(self._handed_over)

    def _handed_over(self, task: asyncio.Task[None]) -> None:
        self._handover = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            logger.warning("no successor could be prepared: %r", error)
        else:
            self._on_news()  # another hop may wait to be replaced

    async def _hand_over(self) -> None:
        """Warm a successor for the hops that leave or are slow; whoever steps next lets it take over."""
        splice: Splice | None = None
        while splice is None:
            chain = self.chain
            if chain is None:
                return
            leaving = [hop for hop in chain.hops if hop.draining]
            splice = await self._warm(chain, leaving)
            if splice is None:
                if not any(hop.draining for hop in chain.hops):
                    return  # nothing better than a slow hop
                await asyncio.sleep(_POLL_SECONDS)
        self._successor = splice
        while self._successor is splice:
            await asyncio.sleep(_IDLE_SWITCH_SECONDS)
            if self._successor is splice and self._turn.acquire(blocking=False):
                try:  # nobody steps
                    await self.switch()
                except (HopFailedError, RefusedError) as error:  # the next step finds that out for itself
                    logger.info("no hand-over: %s", error)
                finally:
                    self._turn.release()

    async def _warm(self, chain: Chain, leaving: list[Hop]) -> Splice | None:
        """Open and feed hops for a better route; None if there is none now."""
        try:
            route = await self._network.directory.route(
                held=[hop.server for hop in chain.hops if hop not in leaving],
                numerics=self._numerics,
                tokens=sum(map(len, self._held())),
                without=[hop.peer_id for hop in leaving],
            )
        except NoRouteError as error:
            logger.debug("no successor yet: %s", error)
            return None
        if any(server.hop.held and self._hop_of(chain, server) is None for server in route):
            return None  # it was lost meanwhile, and is being replaced
        splice = self._splice(chain, route, warm=True)
        if not splice.fresh:
            return None
        try:
            async with AsyncExitStack() as otherwise:
                otherwise.push_async_callback(splice.abandon)
                await splice.prepare()
                await splice.feed(self._held(), switch=False)
                otherwise.pop_all()
        except (HopFailedError, RefusedError) as error:
            logger.info("successor not taken: %s", error)
            self._note(error, route)
            return None
        return splice

    async def _forget_successor(self) -> None:
        if self._handover is not None and self._handover is not asyncio.current_task():
            self._handover.cancel()
            await asyncio.gather(self._handover, return_exceptions=True)
        splice, self._successor = self._successor, None
        if splice is not None:
            await splice.abandon()
