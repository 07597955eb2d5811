"""The client's place in the swarm: an event loop in a thread of its own, so that callers need none."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any, Generic, TypeVar

from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.reach.grpc_carrier import GrpcCarrier
from p2pinfer.client.route.directory import Directory
from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel import dial

T = TypeVar("T")

Join = Callable[[Identity], AbstractAsyncContextManager[Swarm]]
"""How to become a member of the swarm under this identity, and stop being one."""

_LOOK_SECONDS = 1.0
_ENDED = "the client's network thread has ended: load the model again with from_pretrained"

_OPEN: weakref.WeakSet[Network] = weakref.WeakSet()


class Network:
    """Joined to one swarm, for one model, until closed. Any thread may use it."""

    def __init__(self, join: Join, manifest: Manifest, identity: Identity) -> None:
        """Join as `join` says. Raises SwarmUnreachableError if nobody answers."""
        self.payer = Payer(identity)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="p2pinfer-network", daemon=True)
        self._stack = AsyncExitStack()
        self._closed = False
        self._thread.start()
        try:
            self.carrier, self.directory = self.run(self._join(join, manifest))
        except BaseException:
            self.close()
            raise
        _OPEN.add(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the network's loop and wait for it; Ctrl-C cancels it."""
        if self._closed:
            work.close()
            raise UsageError("this model was closed: load it again with from_pretrained")
        if not self._thread.is_alive():
            work.close()
            raise SwarmError(_ENDED)
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError(
                "this call would wait for itself: call it from another thread than the network's"
            )
        return _Handover(self._loop, work).wait(self._thread)

    @property
    def is_running(self) -> bool:
        """False when it was closed, or its thread has ended otherwise: nothing can be run any more."""
        return not self._closed and self._thread.is_alive()

    def call_soon(self, work: Callable[[], None]) -> None:
        """Have something done in the network's loop, and don't wait for it. Any thread may ask."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody needs it any more
            self._loop.call_soon_threadsafe(work)

    def now(self) -> float:
        """Seconds on the network's clock. Any thread may ask."""
        return self._loop.time()

    def close(self) -> None:
        """Leave the swarm and end the thread. Closing twice is harmless."""
        if self._closed:
            return
        try:
            if self.is_running:
                self.run(self._leave())
        finally:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
            if not self._thread.is_alive():
                self._loop.close()

    async def _join(self, join: Join, manifest: Manifest) -> tuple[Carrier, Directory]:
        swarm = await self._stack.enter_async_context(join(self.payer.identity))
        carrier = GrpcCarrier(tunnel=partial(dial, swarm))
        self._stack.push_async_callback(carrier.close)
        self._stack.push_async_callback(self.payer.close)
        directory = Directory(swarm, carrier, manifest.hash, manifest.num_layers)
        self._stack.push_async_callback(directory.close)
        return carrier, directory

    async def _leave(self) -> None:
        await self._stack.aclose()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


class _Handover(Generic[T]):
    """A coroutine run in the loop for a thread that waits: what run_coroutine_threadsafe does, at half the
    cost, which is paid for every token."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def wait(self, thread: threading.Thread) -> T:
        """The coroutine's result or exception; an interruption of the wait (Ctrl-C) cancels it.

        Raises SwarmError if the loop's thread has ended.
        """
        self._loop.call_soon_threadsafe(self._start)
        try:
            while not self._done.acquire(timeout=_LOOK_SECONDS):
                if not thread.is_alive():
                    raise SwarmError(_ENDED)
        except BaseException:
            self._loop.call_soon_threadsafe(self._cancel)
            raise
        assert self._task is not None
        return self._task.result()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(lambda task: self._done.release())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


@atexit.register
def _close_all() -> None:
    """Leave cleanly when the program ends without saying close()."""
    for network in list(_OPEN):
        network.close()
