"""The client's place in the swarm: an event loop in a thread of its own, so that callers need none."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any, Generic, TypeVar

from p2pinfer.client.directory import Directory
from p2pinfer.errors import UsageError
from p2pinfer.model.manifest import Manifest
from p2pinfer.swarm.dht import Swarm
from p2pinfer.swarm.identity import Identity
from p2pinfer.swarm.tunnel import dial
from p2pinfer.wire.channels import ChannelPool

T = TypeVar("T")

Join = Callable[[Identity], AbstractAsyncContextManager[Swarm]]
"""How to become a member of the swarm under this identity, and stop being one."""

_OPEN: weakref.WeakSet[Network] = weakref.WeakSet()


class Network:
    """Joined to one swarm, for one model, until closed. Any thread may use it."""

    def __init__(self, join: Join, manifest: Manifest) -> None:
        """Join as `join` says. Raises SwarmUnreachableError if nobody answers."""
        self.identity = Identity.ephemeral()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="p2pinfer-network", daemon=True)
        self._stack = AsyncExitStack()
        self._closed = False
        self._thread.start()
        try:
            self.pool, self.directory = self.run(self._join(join, manifest))
        except BaseException:
            self.close()
            raise
        _OPEN.add(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the network's loop and wait for it; Ctrl-C cancels it."""
        if self._closed:
            work.close()
            raise UsageError("this model was closed: load it again with from_pretrained")
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError(
                "this call would wait for itself: call it from another thread than the network's"
            )
        return _Handover(self._loop, work).wait()

    def close(self) -> None:
        """Leave the swarm and end the thread. Closing twice is harmless."""
        if self._closed:
            return
        try:
            self.run(self._leave())
        finally:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
            if not self._thread.is_alive():
                self._loop.close()

    async def _join(self, join: Join, manifest: Manifest) -> tuple[ChannelPool, Directory]:
        swarm = await self._stack.enter_async_context(join(self.identity))
        pool = ChannelPool(tunnel=partial(dial, swarm))
        self._stack.push_async_callback(pool.close)
        return pool, Directory(swarm, pool, manifest.hash, manifest.num_layers)

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

    def wait(self) -> T:
        """The coroutine's result or exception; an interruption of the wait (Ctrl-C) cancels it."""
        self._loop.call_soon_threadsafe(self._start)
        try:
            self._done.acquire()
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
