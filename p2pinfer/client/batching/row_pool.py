"""Puts jobs into rows: into few sessions, of several lengths, that are opened and closed as needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from p2pinfer.client.arguments.lengths import too_long
from p2pinfer.client.batching.background_room import BackgroundRoom
from p2pinfer.client.batching.common_beginning import CommonBeginning
from p2pinfer.client.batching.room import Room, lacks_room
from p2pinfer.client.batching.row_job import CLOSED, RowJob
from p2pinfer.client.batching.row_session import RowSession
from p2pinfer.client.batching.session_environment import SessionEnvironment
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.route.aim import Aim
from p2pinfer.errors import UsageError
from p2pinfer.threads import tell
from p2pinfer.wire import inference_pb2 as pb

_GROWTH = 4
"""How much longer rows of the next length are."""

_BACKGROUND_STEP_TOKENS = 256
"""Rows of texts in the background are a multiple of this long: their lengths are known, and they are many."""

_GATHER_SECONDS = 0.05
"""Texts in the background begin so much later: others have come by then, and get rows with them."""

_WORTH_KEEPING = 16
"""So many tokens that a free row has already make a session better than another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How much of the servers' memory a client takes at most."""

    sessions: int = 8
    """For texts that somebody waits for; as many again for texts in the background."""

    rows: int = 16
    """Texts in one session."""

    session_tokens: int = 16384
    """Tokens of all rows of a session together; one row may have more."""

    shortest_row: int = 1024
    answer_tokens: int = 256
    """Room for an answer, whose length is unknown. A text that needs more moves to a longer row."""

    unused_seconds: float = 45.0
    """A session without texts is kept for so long: chats go on, and their beginning is there already."""

    reuse_prefixes: bool = True
    """Compute what texts have in common once. False: every text from its first token, to compare."""


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
        self._gathering: asyncio.TimerHandle | None = None
        self._beginning = CommonBeginning()
        self.background_room = BackgroundRoom(lambda: self._running(is_patient=True))
        self._rooms = {
            is_patient: Room(rows=limits.rows, session_tokens=limits.session_tokens)
            for is_patient in (False, True)  # servers give them different room
        }
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
        """Take a job. It gets a row at once if one is free, or soon if it is one for the background.

        Raises UsageError after `close`.
        """
        if self._is_closed:
            raise UsageError(CLOSED)
        job.waits_since = self._environment.loop.time()
        self._queue_of(job).append(job)
        if not job.is_background:
            self._place()
            return
        seen = self._beginning.tokens(job.prompt, job.scope)
        job.shared_prefix_tokens = max(job.shared_prefix_tokens, seen)
        if self._gathering is None:
            self._gathering = self._environment.loop.call_later(_GATHER_SECONDS, self._have_gathered)

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
        for timer in (self._closing, self._gathering):
            if timer is not None:
                timer.cancel()
        self._is_closed = True
        for session in self._sessions:
            session.close()
        for job in (*self._waiting, *self._in_background):
            _end_with(job, UsageError(CLOSED))
        self._waiting.clear()
        self._in_background.clear()
        self.background_room.close()

    def _running(self, *, is_patient: bool) -> int:
        return sum(session.submitted for session in self._sessions_for(is_patient=is_patient))

    def _queue_of(self, job: RowJob) -> deque[RowJob]:
        return self._in_background if job.is_background else self._waiting

    def _have_gathered(self) -> None:
        self._gathering = None
        self._place()

    def _place(self) -> None:
        """Give waiting jobs rows, the first come first."""
        for queue in (self._waiting, self._in_background):
            while queue and (session := self._session_for(queue[0])) is not None:
                job = queue.popleft()
                self._of[job] = session
                session.submit(job)
            if queue:
                break  # none overtakes it: a text that needs a long row would wait for ever
        self.background_room.look()

    def _session_for(self, job: RowJob) -> RowSession | None:
        """The session to put a job into, opened if need be; None: all rows are taken."""
        needed = self._needed(job)
        others = self._sessions_for(is_patient=job.is_background)
        fitting = [
            session for session in others if session.free_rows > 0 and session.shape.max_tokens >= needed
        ]
        if fitting:
            cached = {session: session.cached(job) for session in fitting}
            best = max(fitting, key=lambda session: cached[session])
            if cached[best] >= _WORTH_KEEPING:
                return best
            # The shortest rows that fit, and of those the fullest session: steps of many rows cost less.
            return min(fitting, key=lambda session: (session.shape.max_tokens, session.free_rows))
        # One after the other: several at once would take room at some hops each, and documents the room that
        # others have just left to a question.
        if any(session.is_opening for session in (self._sessions if job.is_background else others)):
            return None
        if len(others) >= self._limits.sessions and not self._end_unused(others):
            return None
        is_full = self._rooms[job.is_background].is_full(self._environment.loop.time())
        if is_full and others and not self._end_unused(others):
            self._makes_way_for([job])
            return None
        return self._opened(needed, job)

    def _sessions_for(self, *, is_patient: bool) -> list[RowSession]:
        """Sessions are for texts in the background, or for others: their steps would wait for each other."""
        return [session for session in self._sessions if session.shape.is_patient == is_patient]

    def _makes_way_for(self, jobs: Sequence[RowJob]) -> bool:
        """Make way if somebody waits for one of these jobs. False: nobody does, or nothing can."""
        return not all(job.is_background for job in jobs) and self._make_way()

    def _make_way(self) -> bool:
        """End a session in the background; its texts go on later. False: there is none."""
        if any(session.is_leaving for session in self._sessions):
            return True
        in_background = self._sessions_for(is_patient=True)
        if self._end_unused(in_background):
            return True
        patient = [session for session in in_background if not (session.has_failed or session.is_opening)]
        if not patient:
            return False
        leaving = max(patient, key=lambda session: session.shape.cache_tokens)
        leaving.leave()
        return True

    def _needed(self, job: RowJob) -> int:
        """How long a row has to be for a job."""
        left = job.left_tokens
        room = self._limits.answer_tokens if left is None else min(left, self._limits.answer_tokens)
        return min(len(job.tokens) + room, self._longest)

    def _texts_like(self, job: RowJob) -> int:
        """The texts, waiting and running, that share sessions with a job."""
        return self._running(is_patient=job.is_background) + len(self._queue_of(job))

    def _row_length(self, needed: int, job: RowJob) -> int:
        """How long the rows of a new session are, for a job first."""
        if job.is_background:  # of those that wait as well: a row for the longest serves all
            needed = max([needed, *map(self._needed, self._in_background)])
            return min(-(-needed // _BACKGROUND_STEP_TOKENS) * _BACKGROUND_STEP_TOKENS, self._longest)
        length = min(self._limits.shortest_row, self._longest)
        while length < needed:
            length = min(length * _GROWTH, self._longest)
        return length

    @property
    def _longest(self) -> int:
        return self._environment.manifest.max_positions

    def _opened(self, needed: int, job: RowJob) -> RowSession:
        """A session with rows of so many tokens, for a job first."""
        length = self._row_length(needed, job)
        now, manifest = self._environment.loop.time(), self._environment.manifest
        room = self._rooms[job.is_background]
        rows = room.rows_for(self._texts_like(job), length=length, now=now)
        shape = SessionShape(
            model=manifest.hash,
            hidden_size=manifest.hidden_size,
            rows=rows,
            max_tokens=length,
            wire_dtype=self._wire_dtype,
            is_patient=job.is_background,
            aim=self._aim,
        )
        left = max(0.0, self._environment.patience.route - (now - job.waits_since))
        session = RowSession(
            self._environment,
            shape,
            opening_seconds=room.seconds_for(rows, left=left, has_others=bool(self._sessions)),
            on_room=self._has_room,
            on_outgrown=self._goes_on_elsewhere,
            on_gave_way=self._gave_way,
            on_unopened=self._were_not_opened,
        )
        self._sessions.append(session)
        return session

    def _has_room(self, session: RowSession) -> None:
        if (session.has_failed or session.is_leaving) and session.submitted == 0:
            self._end(session)
        self._place()
        if self._closing is None:
            self._close_unused()

    def _gave_way(self, job: RowJob) -> None:
        job.gives_way = False
        self._goes_on_elsewhere(job)

    def _goes_on_elsewhere(self, job: RowJob) -> None:
        """It goes on before all others of its kind: its reader has seen the beginning."""
        if job.is_cancelled:
            return
        if self._is_closed:
            _end_with(job, UsageError(CLOSED))
            return
        if len(job.tokens) > self._longest:
            name = self._environment.manifest.name
            _end_with(job, too_long(len(job.tokens), limit=self._longest, model=name))
            return
        job.waits_since = self._environment.loop.time()
        self._queue_of(job).appendleft(job)
        self._place()

    def _were_not_opened(self, session: RowSession, jobs: Sequence[RowJob], error: Exception) -> None:
        """No servers took a session of so many rows: make room, ask for less, or wait."""
        jobs = [job for job in jobs if not job.is_cancelled]
        if not jobs:
            return
        now, rows = self._environment.loop.time(), session.shape.rows
        is_patient = session.shape.is_patient
        room = self._rooms[is_patient]
        of_kind = self._sessions_for(is_patient=is_patient)
        others = [other for other in of_kind if not other.has_failed]
        longest = max(map(self._needed, jobs))
        fitting = [other for other in others if other.shape.max_tokens >= longest]
        again: float | None = 0.0
        if any(other.free_rows for other in fitting):
            may_wait = True
        elif lacks_room(error) and (self._end_unused(of_kind) or self._makes_way_for(jobs)):
            may_wait = True
            for job in jobs:
                job.waits_since = now  # servers need a moment to see that there is room
        else:
            again = room.refused(error, rows, now)
            may_wait = bool(fitting if again is None else others) or room.asks_for_less(rows, now)
        for job in reversed(jobs):
            has_time = again is not None and now - job.waits_since < self._environment.patience.route
            if not self._is_closed and (may_wait or has_time):
                self._queue_of(job).appendleft(job)
            else:
                _end_with(job, error)
        # They get rows when the failed session has told of their end there.
        if again:
            self._environment.loop.call_later(again, self._place)

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

    def _end_unused(self, sessions: Sequence[RowSession]) -> bool:
        """Close the one that is unused longest, for the room that it takes. False: all are used."""
        unused = [session for session in sessions if session.submitted == 0]
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
