"""The thread that computes: it reads steps from lanes, runs them in batches, and sends outputs on.

One thread for all three, because every hand-over between threads costs as much as sending the message
did. While a batch runs nothing is read: steps gather in the kernel's buffers, and the next batch takes them
together. A lane is not read while its session has a step here, or outputs that the next hop hasn't taken:
whoever sends too fast is slowed down by TCP itself, and nothing piles up.

What the network doesn't take at once is left to the event loop, which sends the rest while this thread
computes for others. Everything else of a session (opening, leases, its end) is the event loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import selectors
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from p2pinfer.errors import EngineError, ProtocolError
from p2pinfer.server.batcher import Batcher, Done, Rows, Work
from p2pinfer.server.sessions import ServerSession
from p2pinfer.types import SessionId
from p2pinfer.wire.lanes import Hello, Lane, Role
from p2pinfer.wire.status import Reason, Refused, as_refused
from p2pinfer.wire.steps import (
    RowChunk,
    Step,
    hop_time,
    pack_result,
    pack_step,
    read_step,
    select_outputs,
    step_id_of,
)

logger = logging.getLogger(__name__)

MAX_STRANGERS = 256
"""Lanes that haven't said hello yet; when one more comes, the oldest is closed."""

_STRANGER_SECONDS = 60.0
_TAKE_SECONDS = 30.0


class Runner:
    """Runs a server's sessions on a thread of its own. Use as a context manager in the event loop."""

    def __init__(
        self,
        batcher: Batcher,
        find_session: Callable[[SessionId], ServerSession | None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._batcher = batcher
        self._find_session = find_session
        self._loop = loop
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._watched: set[Lane] = set()
        self._strangers: dict[Lane, None] = {}
        self._running = True
        self._failed: asyncio.Future[Exception] = loop.create_future()
        self._thread = threading.Thread(target=self._run_forever, name="compute", daemon=True)

    def __enter__(self) -> Runner:
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, self._drain_inbox)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop)
        self._thread.join(timeout=10)

    async def wait_failed(self) -> NoReturn:
        """Wait for as long as the thread works. Raises EngineError when it doesn't any more."""
        error = await asyncio.shield(self._failed)
        raise EngineError(f"the computing thread failed ({error}): start the server again") from error

    @property
    def queue_depth(self) -> int:
        """Steps that wait or run."""
        return self._batcher.depth

    # Called in the event loop.

    def adopt(self, lane: Lane) -> None:
        """Take a lane that was accepted, and find out which session's it is."""
        self._call(partial(self._meet, lane))
        self._loop.call_later(_STRANGER_SECONDS, self._call, partial(self._forget_stranger, lane))

    def lead(self, session: ServerSession, lane: Lane, hello: Hello) -> None:
        """Send the session's outputs on this lane, after the hello."""
        self._call(partial(self._lead, session, lane, hello))

    def release(self, session: ServerSession) -> None:
        """Close the session's lanes and free its caches, once no running batch can be using them."""
        session.released = True
        self._stop_flushing(session)
        self._call(partial(self._release, session))

    def _call(self, work: Callable[[], None]) -> None:
        self._inbox.put(work)
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: the thread has ended
            self._waker.send(b"\0")

    # On the thread.

    def _run_forever(self) -> None:
        try:
            while self._running:
                for key, _ in self._selector.select(0 if self._batcher.depth else None):
                    key.data()
                if self._running:
                    self._batcher.run()
            self._drain_inbox()
        except Exception as error:  # a fault of ours: without this thread nothing is served any more
            logger.exception("the computing thread failed")
            self._tell(self._fail, error)
        self._close()

    def _close(self) -> None:
        for lane in self._watched:
            lane.close()
        self._selector.close()
        self._wake.close()
        self._waker.close()

    def _drain_inbox(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        while not self._inbox.empty():
            self._inbox.get()()

    def _stop(self) -> None:
        self._running = False

    def _meet(self, lane: Lane) -> None:
        if len(self._strangers) >= MAX_STRANGERS:
            self._forget_stranger(next(iter(self._strangers)))
        self._strangers[lane] = None
        self._watch(lane, partial(self._read_hello, lane))
        self._read_hello(lane)

    def _forget_stranger(self, lane: Lane) -> None:
        if lane in self._strangers:
            del self._strangers[lane]
            self._unwatch(lane)
            lane.close()

    def _read_hello(self, lane: Lane) -> None:
        try:
            frame = lane.receive()
            if frame is None:
                return
            hello = Hello.read(frame)
            session = self._find_session(SessionId(hello.session_id))
            if session is None or not session.accepts(hello):
                raise ProtocolError("no session here has this id and key, or another lane is there already")
        except (OSError, EOFError, ProtocolError) as error:
            logger.debug("lane closed: %s", error)
            self._forget_stranger(lane)
            return
        del self._strangers[lane]
        if hello.role is Role.RESULTS:
            self._unwatch(lane)
            self._lead(session, lane, None)
            return
        lane.max_frame_bytes = session.contract.max_step_bytes
        session.steps = lane
        self._unwatch(lane)
        self._read_step(session, lane)

    def _read_step(self, session: ServerSession, lane: Lane) -> None:
        """Begin the session's next step, if it is there and the one before is done with."""
        if session.busy:  # it sends ahead: let that wait in the kernel
            self._unwatch(lane)
            return
        try:
            while (frame := lane.receive()) is not None:
                if step_id_of(frame) > session.last_step_id:  # else it was seen before
                    self._begin(session, read_step(frame, session.contract, session.lengths))
                    return
            self._watch(lane, partial(self._read_step, session, lane))
        except (OSError, EOFError) as error:  # why is for the client to find out, from that side's own call
            logger.debug("steps end: %s", error)
            self._unwatch(lane)
        except ProtocolError as error:
            self._unwatch(lane)
            self._end(session, as_refused(error))

    def _begin(self, session: ServerSession, step: Step) -> None:
        rows = [Rows(session.caches[chunk.row], chunk.position, chunk.hidden) for chunk in step.chunks]
        session.begin(step)
        session.busy = True
        self._batcher.add(Work(session.client, rows, partial(self._answer, session, step)))

    def _answer(self, session: ServerSession, step: Step, outcome: Done | Exception) -> None:
        if isinstance(outcome, Exception):  # the engine's own failure; the session can't go on
            detail = f"this server could not compute the step: {outcome}"
            self._end(session, Refused(Reason.FAILED, detail))
            return
        session.touch()
        times = step.times + hop_time(outcome.queue_seconds, outcome.compute_seconds)
        dtype = session.contract.wire_dtype
        if session.is_last_hop:
            hidden = select_outputs(outcome.outputs, step.outputs)
            session.unsent = pack_result(step.step_id, hidden, dtype, times)
        else:
            chunks = [
                RowChunk(chunk.row, chunk.position, output)
                for chunk, output in zip(step.chunks, outcome.outputs, strict=True)
            ]
            session.unsent = pack_step(step.step_id, chunks, step.outputs, dtype, times)
        self._send(session)

    def _lead(self, session: ServerSession, lane: Lane, hello: Hello | None) -> None:
        session.outputs = lane
        session.hello = hello
        self._send(session)

    def _send(self, session: ServerSession) -> None:
        """Send what is there to be sent, as soon as both the outputs and their lane are."""
        lane, frame = session.outputs, session.unsent
        if lane is None or frame is None or session.released:
            return
        session.unsent = None
        try:
            if session.hello is not None:
                lane.send(session.hello.pack())
                session.hello = None
            if lane.send(frame):
                self._resume(session)
            else:
                self._tell(self._flush_later, session, lane)
        except OSError as error:
            self._lose(session, str(error))

    def _resume(self, session: ServerSession) -> None:
        """Read the session's next step; it may have come already."""
        session.busy = False
        lane = session.steps
        if lane is not None and not session.released and lane.fileno() >= 0:
            self._read_step(session, lane)

    def _release(self, session: ServerSession) -> None:
        for lane in (session.steps, session.outputs):
            if lane is not None:
                self._unwatch(lane)
                lane.close()
        self._batcher.release(session.caches)

    def _watch(self, lane: Lane, when_readable: Callable[[], None]) -> None:
        """Call back when there is more to read; watching twice is harmless."""
        if lane not in self._watched:
            self._watched.add(lane)
            self._selector.register(lane, selectors.EVENT_READ, when_readable)

    def _unwatch(self, lane: Lane) -> None:
        if lane in self._watched:
            self._watched.discard(lane)
            self._selector.unregister(lane)

    def _lose(self, session: ServerSession, why: str) -> None:
        whose = "the client took no result" if session.is_last_hop else "the next hop took no step"
        self._end(session, Refused(Reason.NEXT_HOP_UNREACHABLE, f"{whose}: {why}"))

    def _end(self, session: ServerSession, refused: Refused) -> None:
        self._tell(session.end, refused)

    def _fail(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_result(error)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    # In the event loop again: the rest of a frame.

    def _flush_later(self, session: ServerSession, lane: Lane) -> None:
        if session.released:
            return
        late = partial(self._lose, session, f"nothing for {_TAKE_SECONDS:.0f} s")
        timer = self._loop.call_later(_TAKE_SECONDS, late)
        self._loop.add_writer(lane.fileno(), self._flush, session, lane)
        session.flushing = (lane.fileno(), timer)

    def _flush(self, session: ServerSession, lane: Lane) -> None:
        try:
            done = lane.flush()
        except OSError as error:
            self._stop_flushing(session)
            self._lose(session, str(error))
            return
        if done:
            self._stop_flushing(session)
            self._call(partial(self._resume, session))

    def _stop_flushing(self, session: ServerSession) -> None:
        if session.flushing is not None:
            descriptor, timer = session.flushing
            session.flushing = None
            timer.cancel()
            self._loop.remove_writer(descriptor)
