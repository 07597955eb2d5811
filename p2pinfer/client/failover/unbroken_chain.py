"""A session's chain that outlives its hops. Everything here runs in the network's event loop.

Decided elsewhere: which servers (routing.py), what an error means (recovery.py). Done elsewhere: filling gaps
(mending.py), taking over from hops before they leave (handover.py), exchanging hops (splice.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.pending_rows import Embed
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.failover.handover import Handover
from p2pinfer.client.failover.mending import Mender
from p2pinfer.client.failover.replacements import Replacements
from p2pinfer.client.network import Network
from p2pinfer.client.patience import Patience
from p2pinfer.client.route.experience import life_of
from p2pinfer.errors import HopFailedError, P2PInferError, RefusedError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.threads import in_thread

logger = logging.getLogger(__name__)

_FRESH_RECORDS_SECONDS = 15.0
_LET_GO_SECONDS = 2.0


class UnbrokenChain:
    """Opens a chain, mends it after failures, hands over hops that leave, and closes it."""

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
        """`held` returns the tokens of each row that every hop has. `turn` is held during a step."""
        self._network = network
        self._patience = patience
        self._turn = turn
        self._working: asyncio.Task[object] | None = None
        self._interrupted: P2PInferError | None = None
        self._replacements = Replacements(network, embed=embed, held=held)
        self.mender = Mender(self._replacements, manifest, patience)
        self.handover = Handover(self._replacements, self.mender, turn)
        self._reading: asyncio.Task[None] | None = None

    @property
    def chain(self) -> Chain | None:
        """The chain as it is now; None before it is opened, and after it is closed."""
        return self._replacements.chain

    @property
    def replayed_tokens(self) -> int:
        """Tokens of history that were replayed to new hops."""
        return self._replacements.replayed_tokens

    @property
    def replaced_hops(self) -> int:
        """New hops that took the place of others."""
        return self._replacements.replaced_hops

    async def open(self, shape: SessionShape, *, seconds: float | None = None) -> Chain:
        """Find a route for a session and open it; wait for missing layers to appear.

        `seconds` is how long to be patient; None: as long as for any route.
        Raises NoRouteError, HopFailedError, RefusedError.
        """
        chain = Chain(
            shape,
            self._network.carrier,
            run=self._network.run,
            now=self._network.now,
            on_news=self.handover.look_at_departures,
            has_other=self._replacements.has_other,
            step_seconds=self._patience.step,
        )
        self._replacements.chain = chain
        self._replacements.numerics = None
        self._network.open_chains.add(self)
        self._reading = asyncio.create_task(self._network.directory.keep_fresh(_FRESH_RECORDS_SECONDS))
        with self._interruptible():
            await self.mender.mend(chain, None, seconds=seconds)
        self.handover.look_at_departures()  # a hop may have said during the opening that it leaves
        return chain

    async def recover(self, error: HopFailedError | RefusedError) -> None:
        """Put other servers in the place of the hops that failed. Raises what `Mender.mend` raises."""
        chain = self._replacements.chain
        assert chain is not None
        with self._interruptible():
            async with self.handover.set_aside():
                logger.info("rerouting: %s", error)
                await self.mender.mend(chain, error)

    def worked(self, hops: Sequence[Hop], steps: int) -> None:
        """Remember that these hops have answered so many steps in time."""
        experience = self._network.directory.experience
        for hop in hops:
            if hop.pace.slow_seconds is None:
                experience.worked(life_of(hop.server.record), steps)

    def interrupt(self, error: P2PInferError) -> None:
        """End it soon. A thread that waits for a step gets `error`; waiting for servers is cancelled."""
        self._interrupted = error
        if self._replacements.chain is not None:
            self._replacements.chain.end(error)
        if self._working is not None:
            self._working.cancel()

    async def end(self, error: P2PInferError) -> None:
        """Close, also while a thread waits for a step or for servers: see `interrupt`."""
        self.interrupt(error)
        await cancel_and_wait(self._working)
        await self.handover.forget()
        # The thread has to stop reading its lanes before they are closed.
        if await in_thread(partial(self._turn.acquire, timeout=_LET_GO_SECONDS)):
            self._turn.release()
        await self.close()

    async def close(self) -> None:
        """End all sessions. Closing twice is harmless; afterwards the chain can be opened again."""
        await cancel_and_wait(self._reading)
        self._reading = None
        await self.handover.forget()
        chain, self._replacements.chain = self._replacements.chain, None
        if chain is not None:
            await chain.close()
        self._network.open_chains.discard(self)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let `interrupt` cancel what the block waits for."""
        if self._interrupted is not None:
            raise self._interrupted
        self._working = asyncio.current_task()
        try:
            yield
        finally:
            self._working = None
