"""Repairs to hivemind 1.1.12. They change its modules in place, once, when this file is first imported.

This is debt: it depends on private names of this very release, and goes when hivemind is fixed or replaced.
Modules here that use hivemind's network code import this file first. The repairs:

- `bounded_loads` replaces the unpacking of msgpack. hivemind's own recurses in C for every level of nesting:
  1.4 KB from any peer crash the process with a segmentation fault.
- `spawn` replaces `asyncio.create_task` in five modules. hivemind keeps no reference to the tasks it starts:
  they may be garbage-collected while they run, lose their errors, or go on after the node was closed.
- `_listen` replaces the server that takes other peers' streams from p2pd. Since Python 3.12.1 hivemind's own
  ends only when every stream has ended: leaving the swarm could take for ever.
- `_Answer` replaces the future of a call to a peer. An answer that comes in the moment in which its caller
  gives up ends hivemind's reader: from then on the node hears no answer and no question, and others soon
  forget it.
- `_within` replaces `asyncio.wait_for` for all calls to peers. That of Python 3.11 loses a cancellation that
  comes together with the answer: what should have ended goes on.
- `_Moment` replaces the events of searches. For each question hivemind starts a task that waits for the end
  of the search. Where a search is cut short, as many reads are, these waited until the node was closed.
- `_handle` forgets each question when its handler has ended. hivemind's own keeps those for ever that the
  asker took back.
- Logging: hivemind installs a handler of its own, renames the level WARNING for the whole process, and warns
  about ordinary events such as a peer that left. All its messages become debug messages here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import UUID

import hivemind.dht.node
import hivemind.dht.protocol
import hivemind.dht.traverse
import hivemind.p2p.p2p_daemon
import hivemind.p2p.p2p_daemon_bindings.control
import hivemind.p2p.servicer
import msgpack
from hivemind.p2p.p2p_daemon_bindings.control import ControlClient
from hivemind.utils.logging import use_hivemind_log_handler
from hivemind.utils.serializer import MSGPackSerializer

from p2pinfer.tasks import cancel_and_wait

MAX_MSGPACK_DEPTH = 4
MAX_MSGPACK_BYTES = 1 << 20

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class TaskOwner:
    """Holds the tasks that hivemind starts and forgets, so that leaving the swarm ends all of them.

    A failed task is logged for debugging only: hivemind's tasks fail whenever a peer leaves. That, and that
    others start the tasks, is why this isn't a Nursery.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """End `task` with the others, if it hasn't ended before."""
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.debug("a background task of hivemind failed", exc_info=error)

    async def close(self) -> None:
        """Cancel all tasks, also those that they start meanwhile, and wait for their end."""
        while self._tasks:
            await cancel_and_wait(*self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


current_owner: ContextVar[TaskOwner | None] = ContextVar("current_owner", default=None)


def spawn(coroutine: Coroutine[Any, Any, _T], **options: Any) -> asyncio.Task[_T]:
    """Start a task that belongs to the current owner, if there is one."""
    task = asyncio.create_task(coroutine, **options)
    if (owner := current_owner.get()) is not None:
        owner.adopt(task)
    return task


class _AsyncioWithOwners:
    """Replaces the module `asyncio` inside hivemind's modules; only `create_task` differs."""

    create_task: Any = staticmethod(spawn)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


class _Answer(asyncio.Future[Any]):
    """A peer's answer; one for which nobody waits any more is dropped."""

    def set_result(self, result: Any) -> None:
        if not self.done():
            super().set_result(result)

    def set_exception(self, exception: type | BaseException) -> None:
        if not self.done():
            super().set_exception(exception)


class _AsyncioOfCalls(_AsyncioWithOwners):
    """The same for the module whose futures are all answers."""

    Future = _Answer


async def _within(call: Awaitable[_T], timeout: float | None) -> _T:
    """The answer to a call. Raises TimeoutError if none comes in `timeout` seconds."""
    async with asyncio.timeout(timeout):
        return await call


class _AsyncioOfStubs(_AsyncioWithOwners):
    """The same for the module whose waits are all for peers."""

    wait_for = staticmethod(_within)


class _Moment:
    """An event that is waited for without a task: who doesn't wait any more leaves nothing behind."""

    def __init__(self) -> None:
        self._has_come = False
        self._waiters: list[asyncio.Future[bool]] = []

    def is_set(self) -> bool:
        return self._has_come

    def set(self) -> None:
        self._has_come = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(True)

    def clear(self) -> None:
        self._has_come = False

    def wait(self) -> asyncio.Future[bool]:
        waiter = asyncio.get_running_loop().create_future()
        if self._has_come:
            waiter.set_result(True)
        else:
            self._waiters.append(waiter)
        return waiter


class _AsyncioOfSearches(_AsyncioWithOwners):
    """The same for the module whose events tell of one search."""

    Event = _Moment

    @staticmethod
    def create_task(work: Any, **options: Any) -> asyncio.Future[Any]:
        return work if isinstance(work, asyncio.Future) else spawn(work, **options)


_handle_unforgotten = ControlClient._handle_persistent_request


async def _handle(self: ControlClient, call_id: UUID, request: Any) -> None:
    """Answer a peer's question."""
    try:
        await _handle_unforgotten(self, call_id, request)
    finally:
        self._handler_tasks.pop(call_id, None)


@asynccontextmanager
async def _listen(self: ControlClient) -> AsyncIterator[ControlClient]:
    """Take streams of other peers until the block ends; the handlers of open streams close them."""
    path = self.listen_maddr.value_for_protocol("unix")
    server = await asyncio.start_unix_server(self._handler, path=path)
    try:
        yield self
    finally:
        server.close()


class _ToDebug(logging.Handler):
    """Turns hivemind's messages of all levels into debug messages."""

    def emit(self, record: logging.LogRecord) -> None:
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s: %s", record.name, record.getMessage(), exc_info=record.exc_info)


def bounded_loads(data: bytes) -> object:
    """Unpack msgpack whose extension types are nested at most MAX_MSGPACK_DEPTH deep.

    Raises ValueError for data that are too deep, too large or malformed.
    """
    return _loads(data, 0)


def _loads(data: bytes, depth: int) -> object:
    if depth > MAX_MSGPACK_DEPTH:
        raise ValueError(f"msgpack nested more than {MAX_MSGPACK_DEPTH} levels deep")
    if len(data) > MAX_MSGPACK_BYTES:
        raise ValueError(f"msgpack of more than {MAX_MSGPACK_BYTES} bytes")

    def decode_extension(code: int, payload: bytes) -> object:
        if code != MSGPackSerializer._TUPLE_EXT_TYPE_CODE:
            raise ValueError(f"msgpack extension type {code}")  # nothing here uses the others
        inner = _loads(payload, depth + 1)
        if not isinstance(inner, list):
            raise ValueError("a msgpack tuple that isn't a list inside")
        return tuple(inner)

    try:
        return msgpack.unpackb(data, ext_hook=decode_extension, raw=False)
    except (msgpack.UnpackException, TypeError, ValueError) as error:
        raise ValueError(f"malformed msgpack: {error}") from error


def _install() -> None:
    MSGPackSerializer.loads = staticmethod(bounded_loads)
    MSGPackSerializer._decode_ext_types = staticmethod(
        lambda code, data: bounded_loads(msgpack.packb(msgpack.ExtType(code, data)))
    )
    for module in (
        hivemind.dht.node,
        hivemind.dht.protocol,
        hivemind.p2p.p2p_daemon,
    ):
        module.asyncio = _AsyncioWithOwners()
    hivemind.dht.traverse.asyncio = _AsyncioOfSearches()
    hivemind.p2p.servicer.asyncio = _AsyncioOfStubs()
    hivemind.p2p.p2p_daemon_bindings.control.asyncio = _AsyncioOfCalls()
    ControlClient.listen = _listen
    ControlClient._handle_persistent_request = _handle
    use_hivemind_log_handler("nowhere")
    logging.addLevelName(logging.WARNING, "WARNING")  # hivemind renames it for the whole process
    library = logging.getLogger("hivemind")
    library.propagate = False
    library.addHandler(_ToDebug())


_install()
