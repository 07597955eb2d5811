"""The client's place in the swarm: an event loop in a thread of its own, so that callers need none."""

from __future__ import annotations

import asyncio
import atexit
import os
import random
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any, Protocol, TypeVar

from p2pinfer.backoff import Chance
from p2pinfer.client.arguments.loading import peers
from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.reach.grpc_carrier import GrpcCarrier
from p2pinfer.client.route.directory import Directory
from p2pinfer.client.trust.kept import KeptReputations
from p2pinfer.client.trust.remembering import Remembering
from p2pinfer.errors import P2PInferError, SwarmError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.swarm.membership.kept_peers import KeptPeers
from p2pinfer.swarm.remembering import join_remembering
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import all_of, cancel_and_wait
from p2pinfer.threads import LoopGoneError, run_in_loop, tell
from p2pinfer.wire.dialling import Ways

T = TypeVar("T")

Join = Callable[[Identity], AbstractAsyncContextManager[Swarm]]
"""Joins the swarm under this identity, and leaves it when the block ends."""


class OpenChain(Protocol):
    """What a session has open at servers."""

    async def end(self, error: P2PInferError) -> None:
        """Close it, also while a thread waits for it, which gets `error`."""


_OPEN: weakref.WeakSet[Network] = weakref.WeakSet()
_CLOSED = "this model was closed: load it again with from_pretrained"
_ENDED = "the client's network thread has ended: load the model again with from_pretrained"


def join_through(
    initial_peers: str | Sequence[str] | None, *, seconds: float, kept_peers: KeptPeers | None = None
) -> Join:
    """Return how to join a swarm through one of these peers, as a client: it stores no records for others.

    The join waits up to `seconds` for an answer. `kept_peers` is where whom this user's clients knew is
    remembered; None: nowhere. Raises UsageError if `initial_peers` is empty or malformed.
    """
    join = Swarm.join if kept_peers is None else partial(join_remembering, kept_peers)
    return partial(join, peers(initial_peers), client_only=True, startup_timeout_seconds=seconds)


class Network:
    """A membership in one swarm, for one model, until it is closed. Any thread may use it.

    `follow` says which model, before the first session.
    """

    directory: Directory
    """The servers of the model, from `follow` on."""

    def __init__(self, join: Join, identity: Identity, kept: KeptReputations | None = None) -> None:
        """Join the swarm, and sign receipts with `identity`. Raises SwarmUnreachableError if no peer answers.

        `kept` is where what servers did is remembered; None: until this network is closed.

        In the swarm itself the client has a key of its own for each time: one who pays may run several
        clients, on several machines, and no two peers may have the same id.
        """
        self.payer = Payer(identity)
        self._kept = kept
        self.chance: Chance = random.random
        """What spreads retries and choices; a simulation puts a seeded one here."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="p2pinfer-network", daemon=True)
        self.open_chains: set[OpenChain] = set()
        """The sessions' chains, which end before the network does. For the event loop."""
        self._stack = AsyncExitStack()
        self._closing = False
        self._process = os.getpid()
        self._thread.start()
        try:
            self.swarm = self._run(self._stack.enter_async_context(join(Identity.ephemeral())))
            self.carrier: Carrier = self._run(self._begin())
        except BaseException:
            self.close()
            raise
        _OPEN.add(self)

    def follow(self, manifest: Manifest) -> None:
        """Look for the servers of this model from now on. To be called once."""
        self.directory = self._run(self._follow(manifest))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the network's loop and wait for it. Ctrl-C cancels it.

        Raises UsageError if the network is closed, SwarmError if its thread has ended, and what `work`
        raises.
        """
        if self._closing:
            work.close()
            raise UsageError(_CLOSED)
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError("the network's own thread can't wait for itself: call from another thread")
        try:
            return self._run(work)
        except asyncio.CancelledError:
            if self._closing:  # by another thread
                raise UsageError(_CLOSED) from None
            raise

    @property
    def ways(self) -> Ways:
        """The ways to peers, and which addresses may be dialled."""
        return self.swarm.ways

    @property
    def is_running(self) -> bool:
        """False from `close` on, or if the network's thread has ended otherwise."""
        return not self._closing and self._thread.is_alive()

    def call_soon(self, work: Callable[[], None]) -> None:
        """Let the network's loop call `work`, without waiting for it. Any thread may ask."""
        tell(self._loop, work)

    def now(self) -> float:
        """Seconds on the network's clock. Any thread may ask."""
        return self._loop.time()

    def close(self) -> None:
        """End the open sessions, leave the swarm and end the thread. Closing twice is harmless.

        A thread that waits for a step, or for servers, gets a UsageError that says so.
        """
        if self._closing:
            return
        self._closing = True
        if os.getpid() != self._process:
            return  # a child of a fork has no such thread; what it would close is its parent's
        try:
            if self._thread.is_alive():
                self._run(self._leave())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
            if not self._thread.is_alive():
                self._loop.close()

    async def _begin(self) -> Carrier:
        carrier = GrpcCarrier(ways=self.ways)
        self._stack.push_async_callback(carrier.close)
        self._stack.push_async_callback(self.payer.close)
        return carrier

    async def _follow(self, manifest: Manifest) -> Directory:
        remembering = Remembering(self._kept)
        await self._stack.enter_async_context(remembering.running())
        directory = Directory(
            self.swarm,
            self.carrier,
            manifest.hash,
            manifest.num_layers,
            chance=lambda: self.chance(),
            reputations=remembering.reputations,
        )
        directory.experience.on_offence = remembering.soon
        self._stack.push_async_callback(directory.close)
        return directory

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise SwarmError(_ENDED)
        try:
            return run_in_loop(self._loop, self._thread, work)
        except LoopGoneError as error:
            raise SwarmError(_ENDED) from error

    async def _leave(self) -> None:
        try:
            await all_of(*(chain.end(UsageError(_CLOSED)) for chain in self.open_chains))
        finally:
            await self._stack.aclose()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:  # what ends may begin something
            await cancel_and_wait(*others)


@atexit.register
def _close_all() -> None:
    """Leave the swarm when the program ends without calling close()."""
    for network in list(_OPEN):
        network.close()
