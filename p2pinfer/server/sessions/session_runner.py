"""Runs a server's sessions on the computing thread: the event loop's only way there."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.server.compute.batcher import Batcher, QueuedStep, RowInput
from p2pinfer.server.compute.compute_thread import ComputeThread
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.compute.unsigned_work import UnsignedWork
from p2pinfer.server.frames.frame_room import frame_bound
from p2pinfer.server.frames.incoming import LOOK_SECONDS, IncomingFrames
from p2pinfer.server.sessions.lease import Lease
from p2pinfer.server.sessions.running_session import FindRoom, RunningSession
from p2pinfer.server.streams.arrivals import Arrivals
from p2pinfer.sharing.give.activity import Activity
from p2pinfer.types import SessionId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import MAX_STEP_TOKENS
from p2pinfer.wire.tensors import hidden_bytes

_EXPIRE_SECONDS = 60.0
_BATCH_SECONDS_COUNT = 0.25
"""What a second of a batch counts against who sends a frame: nothing is read, the kernel takes a little."""

_UNSENT_SHARE = 4
"""Outputs that nobody has taken may have so many times the memory of steps that come in part: whoever
computes for many clients with slow lines has many on the way."""

_OURSELVES = b""
"""The client of steps that belong to no session."""


class SessionRunner:
    """Owns the computing thread. Use as a context manager in the event loop."""

    def __init__(self, batcher: Batcher, loop: asyncio.AbstractEventLoop) -> None:
        self._batcher = batcher
        self._loop = loop
        self._thread = ComputeThread(batcher, loop)
        bound = frame_bound(hidden_bytes(MAX_STEP_TOKENS, batcher.hidden_size, pb.FLOAT32))
        self._incoming = IncomingFrames(
            bound,
            self._thread.call,
            lambda: time.monotonic() - (1 - _BATCH_SECONDS_COUNT) * self._thread.busy_seconds,
        )
        self.arrivals = Arrivals(self._thread, self._incoming, _UNSENT_SHARE * bound.in_all)
        """The computing thread's: hand its methods over, never call them here."""
        self._running: dict[SessionId, RunningSession] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    def __enter__(self) -> SessionRunner:
        self._thread.__enter__()
        self._later(LOOK_SECONDS, self._look_at_frames)
        return self

    def __exit__(self, *exception: object) -> None:
        for timer in self._timers:  # they would hold the engine in memory
            timer.cancel()
        self._timers.clear()
        for session_id in list(
            self._running
        ):  # whoever runs them comes to their ends too late for the thread
            self._close(session_id)
        self._thread.call(self._batcher.prefixes.clear)
        self._thread.__exit__(*exception)

    def limit_prefixes(self, layer_tokens: int) -> None:
        """Let prefixes that are kept take no more than this, from before the next step on."""
        self._thread.call(self._batcher.prefixes.set_limit, layer_tokens)

    async def expire_prefixes_forever(self) -> None:
        """Drop prefixes that nobody has recalled for long."""
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            self._thread.call(self._batcher.prefixes.expire)

    async def wait_failed(self) -> NoReturn:
        """Wait for as long as the thread works. Raises EngineError when it has failed."""
        await self._thread.wait_failed()

    @property
    def queue_depth(self) -> int:
        """Steps that wait or run."""
        return self._batcher.depth

    @property
    def activity(self) -> Activity:
        """Whether activations wait, and when the sessions that are open were last active.

        Ask in the event loop. Looks at each open session; costs the steps themselves nothing.
        """
        sessions = self._running.values()
        active_at = max((session.lease.last_active for session in sessions), default=-math.inf)
        return Activity(
            waiting=self._batcher.depth > 0 or any(session.rest_writer.is_moving for session in sessions),
            seconds_since_step=time.monotonic() - active_at,
        )

    @property
    def duty(self) -> float:
        """The fraction of time that batches may take."""
        return self._thread.duty

    @property
    def busy_seconds(self) -> float:
        """How long batches have run so far."""
        return self._thread.busy_seconds

    def set_duty(self, duty: float) -> None:
        """Let batches take no more than this fraction of the time from now on."""
        self._thread.set_duty(duty)

    def adopt(self, lane: Lane) -> None:
        """Take a lane that was accepted, and find out which session's it is."""
        self._thread.call(self.arrivals.meet, lane)

    @contextmanager
    def running(
        self, lease: Lease, terms: pb.Terms, unsigned_work: UnsignedWork, find_room: FindRoom
    ) -> Iterator[RunningSession]:
        """Run a session's steps until the block ends.

        What all sessions do on trust is counted in `unsigned_work`; `find_room` is asked for room that was
        taken back.

        Then its lanes are closed and its caches freed, once no batch that runs can be using them. Enter it
        right after the lease is there, with no await between: requests for the session find it at once.
        """
        session = RunningSession(
            lease,
            terms,
            thread=self._thread,
            batcher=self._batcher,
            incoming=self._incoming,
            loop=self._loop,
            unsigned_work=unsigned_work,
            find_room=find_room,
        )
        self._running[lease.id] = session
        self._thread.call(self.arrivals.open, lease.id, session.driver)
        try:
            yield session
        finally:
            self._close(lease.id)

    def run_own(self, kind: StepKind, row: RowInput) -> asyncio.Future[Computed | Exception]:
        """Run a step that belongs to no session, batched and throttled like theirs.

        Returns what came of it, or what the engine raised.
        """
        outcome: asyncio.Future[Computed | Exception] = self._loop.create_future()

        def report(result: Computed | Exception) -> None:
            self._thread.tell(_answered, outcome, result)

        step = QueuedStep(client=_OURSELVES, kind=kind, rows=[row], report=report)
        self._thread.call(self._batcher.add, step)
        return outcome

    def release(self, cache: SequenceCache) -> None:
        """Free the cache of steps that `run_own` ran. One that still waits is dropped."""
        self._thread.call(self._batcher.release, [cache])

    def find(self, session_id: SessionId) -> RunningSession | None:
        """The session with this id, if it is open."""
        return self._running.get(session_id)

    def session_of(self, lease: Lease) -> RunningSession:
        """The session of a lease. Raises Refused if it has ended."""
        session = self._running.get(lease.id)
        if session is None:
            raise Refused(Reason.UNKNOWN_SESSION, "the session has ended")
        return session

    def _close(self, session_id: SessionId) -> None:
        """Stop a session and have it released; harmless if that was done."""
        if (session := self._running.pop(session_id, None)) is not None:
            session.stop()
            self._thread.call(self.arrivals.close, session_id)

    def _look_at_frames(self) -> None:
        """Have frames that don't come, and outputs that nobody takes, given up every second."""
        if len(self._incoming) or self._running:
            self._thread.call(self.arrivals.look)
        self._later(LOOK_SECONDS, self._look_at_frames)

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something later, if the block hasn't ended by then."""

        def due() -> None:
            self._timers.discard(timer)
            work()

        timer = self._loop.call_later(seconds, due)
        self._timers.add(timer)


def _answered(future: asyncio.Future[Computed | Exception], result: Computed | Exception) -> None:
    if not future.done():
        future.set_result(result)
