"""Puts jobs into rows: into few sessions, of several lengths, that are opened and closed as needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from p2pinfer.client.batching.row_job import CLOSED, RowJob
from p2pinfer.client.batching.row_session import RowSession, SessionEnvironment
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.route.aim import Aim
from p2pinfer.errors import HopFailedError, NoRouteError, PromptTooLongError, RefusedError, UsageError
from p2pinfer.threads import tell
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import Reason

_GROWTH = 4
"""How much longer rows of the next length are."""

_FULL_SECONDS = 5.0
"""After the swarm had no room for one more session, none is tried for so long while there are others."""

_BESIDE_OTHERS_SECONDS = 2.0
"""How long servers are looked for while there are other sessions, whose rows become free."""

_FEWER_SECONDS = 60.0
"""After servers were too small for a session, those after it have fewer rows for so long."""

_WORTH_KEEPING = 16
"""So many tokens that a free row has already make a session better than another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How much of the servers' memory a client takes at most."""

    sessions: int = 8
    rows: int = 16
    """Texts in one session."""

    session_tokens: int = 16384
    """Tokens of all rows of a session together; one row may have more."""

    shortest_row: int = 1024
    answer_tokens: int = 256
    """Room for an answer, whose length is unknown. A text that needs more moves to a longer row."""

    unused_seconds: float = 45.0
    """A session without texts is kept for so long: chats go on, and their beginning is there already."""


class RowPool:
    """Takes jobs, and lets them wait when every row is taken. For one event loop."""

    def __init__(
        self,
        environment: SessionEnvironment,
        limits: PoolLimits,
        *,
        wire_dtype: pb.WireDtype,
        aim: Aim,
    ) -> None:
        self._environment = environment
        self._limits = limits
        self._wire_dtype = wire_dtype
        self._aim = aim
        self._sessions: list[RowSession] = []
        self._waiting: deque[RowJob] = deque()
        self._in_background: deque[RowJob] = deque()
        self._of: WeakKeyDictionary[RowJob, RowSession] = WeakKeyDictionary()
        self._closing: asyncio.TimerHandle | None = None
        self._full_until = 0.0
        self._most_rows = limits.rows
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """Jobs that wait for a row."""
        return len(self._waiting) + len(self._in_background)

    @property
    def running(self) -> int:
        """Jobs that have a row."""
        return sum(session.submitted for session in self._sessions)

    @property
    def sessions(self) -> list[RowSession]:
        """The sessions that are open, or being opened."""
        return list(self._sessions)

    def submit(self, job: RowJob) -> None:
        """Take a job. It gets a row at once if one is free. Raises UsageError after `close`."""
        if self._is_closed:
            raise UsageError(CLOSED)
        (self._in_background if job.is_background else self._waiting).append(job)
        self._place()

    def cancel(self, job: RowJob) -> None:
        """Nobody waits for the job any more: its row becomes free after the step under way."""
        job.is_cancelled = True
        for queue in (self._waiting, self._in_background):
            with contextlib.suppress(ValueError):
                queue.remove(job)
        self._place()  # those behind it may find room where it did not

    def abandon(self, job: RowJob) -> None:
        """Cancel a job, soon. Any thread may ask, for readers that have gone without a word."""
        job.is_cancelled = True
        tell(self._environment.loop, self.cancel, job)

    def session_of(self, job: RowJob) -> RowSession | None:
        """The session that a job is in, or was last."""
        return self._of.get(job)

    def close(self) -> None:
        """Close every session; jobs get a UsageError."""
        if self._closing is not None:
            self._closing.cancel()
        self._is_closed = True
        for session in self._sessions:
            session.close()
        for job in (*self._waiting, *self._in_background):
            _end_with(job, UsageError(CLOSED))
        self._waiting.clear()
        self._in_background.clear()

    def _place(self) -> None:
        """Give waiting jobs rows, the first come first."""
        for queue in (self._waiting, self._in_background):
            while queue and (session := self._session_for(queue[0])) is not None:
                job = queue.popleft()
                self._of[job] = session
                session.submit(job)
            if queue:
                return  # none overtakes it: a text that needs a long row would wait for ever

    def _session_for(self, job: RowJob) -> RowSession | None:
        """The session to put a job into, opened if need be; None: all rows are taken."""
        needed = self._needed(job)
        fitting = [
            session
            for session in self._sessions
            if session.free_rows > 0 and session.shape.max_tokens >= needed
        ]
        if fitting:
            cached = {session: session.cached(job.tokens) for session in fitting}
            best = max(fitting, key=lambda session: cached[session])
            if cached[best] >= _WORTH_KEEPING:
                return best
            # The shortest rows that fit, and of those the fullest session: steps of many rows cost less.
            return min(fitting, key=lambda session: (session.shape.max_tokens, session.free_rows))
        if any(session.is_opening for session in self._sessions):
            return None  # one after the other: several at once would take room at some hops each
        is_full = self._environment.loop.time() < self._full_until and bool(self._sessions)
        if (is_full or len(self._sessions) >= self._limits.sessions) and not self._end_unused():
            return None
        return self._opened(needed)

    def _needed(self, job: RowJob) -> int:
        """How long a row has to be for a job."""
        return min(len(job.tokens) + self._limits.answer_tokens, self._longest)

    @property
    def _longest(self) -> int:
        return self._environment.manifest.max_positions

    def _opened(self, needed: int) -> RowSession:
        length = min(self._limits.shortest_row, self._longest)
        while length < needed:
            length = min(length * _GROWTH, self._longest)
        manifest = self._environment.manifest
        shape = SessionShape(
            model=manifest.hash,
            hidden_size=manifest.hidden_size,
            rows=max(1, min(self._most_rows, self._limits.session_tokens // length)),
            max_tokens=length,
            wire_dtype=self._wire_dtype,
            aim=self._aim,
        )
        session = RowSession(
            self._environment,
            shape,
            opening_seconds=_BESIDE_OTHERS_SECONDS if self._sessions else None,
            on_room=self._has_room,
            on_outgrown=self._has_outgrown,
            on_unopened=self._were_not_opened,
        )
        self._sessions.append(session)
        return session

    def _has_room(self, session: RowSession) -> None:
        if session.has_failed and session.submitted == 0:
            self._end(session)
        self._place()
        if self._closing is None:
            self._close_unused()

    def _has_outgrown(self, job: RowJob) -> None:
        """It goes on before all others: its reader has seen the beginning."""
        if job.is_cancelled:
            return
        if self._is_closed:
            _end_with(job, UsageError(CLOSED))
            return
        if len(job.tokens) > self._longest:
            name = self._environment.manifest.name
            _end_with(job, PromptTooLongError(f"{name} takes at most {self._longest} tokens"))
            return
        self._waiting.appendleft(job)
        self._place()

    def _were_not_opened(self, session: RowSession, jobs: Sequence[RowJob], error: Exception) -> None:
        """No server had room for a session of so many rows: make room, wait for it, or take less."""
        jobs = [job for job in jobs if not job.is_cancelled]
        if not jobs:
            return
        loop = self._environment.loop
        longest = max(map(self._needed, jobs))
        others = [other for other in self._sessions if not other.has_failed]
        fewer = _fewer_rows(error, session.shape.rows)
        if self._is_closed or not isinstance(error, NoRouteError | RefusedError | HopFailedError):
            for job in jobs:
                _end_with(job, error)
            return
        is_too_long = isinstance(error, RefusedError) and error.reason == Reason.TOO_LONG
        if not is_too_long and self._end_unused():
            pass  # there is room for another now
        elif any(other.shape.max_tokens >= longest for other in others) or (
            others and fewer is None and not is_too_long
        ):
            self._full_until = loop.time() + _FULL_SECONDS
            loop.call_later(_FULL_SECONDS, self._place)
        elif fewer is not None:
            if fewer < self._most_rows:
                self._most_rows = fewer
                loop.call_later(_FEWER_SECONDS, self._try_all_rows_again)
        else:
            for job in jobs:
                _end_with(job, error)
            return
        for job in reversed(jobs):
            (self._in_background if job.is_background else self._waiting).appendleft(job)
        # They get rows when the failed session has told of their end there.

    def _try_all_rows_again(self) -> None:
        self._most_rows = self._limits.rows

    def _close_unused(self) -> None:
        """Close sessions that nobody has used for a while, and look again later."""
        now = self._environment.loop.time()
        for session in list(self._sessions):
            if session.submitted == 0 and now - session.unused_since >= self._limits.unused_seconds:
                self._end(session)
        self._closing = None
        if self._sessions:
            self._closing = self._environment.loop.call_later(
                self._limits.unused_seconds / 4, self._close_unused
            )

    def _end_unused(self) -> bool:
        """Close the session that is unused longest, for the room that it takes. False: all are used."""
        unused = [session for session in self._sessions if session.submitted == 0]
        if unused:
            self._end(min(unused, key=lambda session: session.unused_since))
        return bool(unused)

    def _end(self, session: RowSession) -> None:
        if session in self._sessions:
            self._sessions.remove(session)
            session.close()


def _end_with(job: RowJob, error: Exception) -> None:
    job.error, job.has_ended = error, True
    job.on_news()


def _fewer_rows(error: Exception, rows: int) -> int | None:
    """How many rows to try next; None if fewer would not help."""
    if rows == 1:
        return None
    if isinstance(error, RefusedError) and error.reason == Reason.TOO_LONG:
        return rows // 2  # the servers are small: found out at once
    if isinstance(error, NoRouteError) and error.is_for_room:
        return 1  # they are full: that took all the patience there was
    return None
