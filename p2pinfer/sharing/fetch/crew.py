"""The peers that a fetch works with: a few at a time, others in the place of those that fail or are slow."""

from __future__ import annotations

import logging
import random
import time
from asyncio import Task
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from p2pinfer.backoff import Backoff
from p2pinfer.errors import HopFailedError, ProtocolError, RefusedError
from p2pinfer.plain_text import printable
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.fetch.peer_work import PeerWork
from p2pinfer.tasks import Nursery
from p2pinfer.types import PeerId, short_id
from p2pinfer.wire.status import Reason

logger = logging.getLogger(__name__)

_BACKOFF = Backoff(first_seconds=1.0, most_seconds=60.0)
_WRONG_MODEL_SECONDS = 300.0
_REFUSED_SECONDS = 5.0
_TRIAL_SECONDS = 10.0  # so long a peer may show what it can, before another gets its place
_QUEUE_SECONDS = 20.0  # one that has something may have us wait so long for the first byte
_CHUNK_SECONDS = 60.0  # and so long for the first chunk: three at a time on a line of 420 kbit/s
_REST_SECONDS = 30.0
_SLOW_PART = 4  # slow is who brings less than a quarter of the mean
_LUCK = 0.5  # so many of those of which nothing is known are looked at as if it were


@dataclass(slots=True, eq=False)
class _Known:
    holder: Holder
    is_listed: bool = True  # in the swarm, at the last look
    is_liar: bool = False
    is_tried: bool = False  # it had a place for a whole trial, or lost it before
    failures: int = 0  # in a row
    not_before: float = 0.0
    complaint: str = ""  # why nothing comes from it
    received_bytes: int = 0  # by work that has ended
    work: PeerWork | None = None
    task: Task[None] | None = None
    hired_at: float = 0.0
    trial_at: float = 0.0
    bytes_at_trial: int = 0
    bytes_at: float = 0.0  # when it was last seen to have brought something, or was hired
    rests: int = 0  # in a row, without a chunk

    @property
    def all_bytes(self) -> int:
        return self.received_bytes + (self.work.received_bytes if self.work else 0)


class Crew:
    """Hires peers, and lets them go. Event-loop object; its tasks belong to `tasks`."""

    def __init__(
        self,
        tasks: Nursery,
        work_with: Callable[[Holder], PeerWork],
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._work_with = work_with
        self._most = most
        self._clock = clock
        self._known: dict[PeerId, _Known] = {}

    @property
    def received_by_peer(self) -> dict[PeerId, int]:
        """Bytes of chunks, of use or not."""
        return {peer_id: known.all_bytes for peer_id, known in self._known.items() if known.all_bytes}

    @property
    def liars(self) -> tuple[PeerId, ...]:
        """Those that sent what the protocol forbids."""
        return tuple(peer_id for peer_id, known in self._known.items() if known.is_liar)

    def complaints(self) -> list[str]:
        """Who was asked, and why nothing comes from it; in one line each."""
        return [
            known.complaint or f"peer {short_id(peer_id)} holds nothing of it"
            for peer_id, known in self._known.items()
        ]

    def meet(self, holders: Sequence[Holder]) -> None:
        """What the swarm knows now. A peer that has another address than before gets another chance."""
        for known in self._known.values():
            known.is_listed = False
        for holder in holders:
            known = self._known.setdefault(holder.peer_id, _Known(holder))
            if known.holder.address != holder.address:
                known.not_before = 0.0
            known.holder, known.is_listed = holder, True

    def has_untried(self, missing: Collection[str]) -> bool:
        """True if some peer that may have one of these files hasn't had a place for a whole trial yet."""
        return any(
            known.is_listed and not known.is_liar and known.holder.may_help(missing) and not known.is_tried
            for known in self._known.values()
        )

    def staff(self, missing: Collection[str]) -> None:
        """Hire as many peers as there is room for, of those that may have one of the missing files.

        Those that have not failed go before those that have, and those of which it's known that they have
        one mostly before those of which nothing is known: what is known is what they say themselves.
        """
        now = self._clock()
        free = [
            known
            for known in self._known.values()
            if known.is_listed
            and known.task is None
            and not known.is_liar
            and known.not_before <= now
            and known.holder.may_help(missing)
        ]
        random.shuffle(free)
        free.sort(
            key=lambda known: (
                known.failures + known.rests,
                known.holder.may_hold is None and random.random() >= _LUCK,
            )
        )
        working = [known for known in self._known.values() if known.task is not None]
        places = self._most - len(working)
        for known in free[:places]:
            known.work = self._work_with(known.holder)
            known.hired_at = known.trial_at = known.bytes_at = now
            known.bytes_at_trial = known.all_bytes
            known.task = self._tasks.start(self._employ(known, known.work))
        self._end_trials(working, len(free) - max(0, places), now)

    def _end_trials(self, working: list[_Known], others: int, now: float) -> None:
        """Let peers go that are of no use, or much slower than the rest: at most one for each that waits."""
        tried = [known for known in working if now - known.trial_at >= _TRIAL_SECONDS]
        rates = {}
        for known in tried:
            brought = known.all_bytes - known.bytes_at_trial
            rates[known.holder.peer_id] = brought / (now - known.trial_at)
            known.trial_at, known.bytes_at_trial = now, known.all_bytes
            known.is_tried = True
            if brought:
                known.bytes_at = now
            if known.work is not None and known.work.good_chunks:
                known.rests = 0
        if not tried or others <= 0:
            return
        useless = [known for known in tried if _is_useless(known, now)]
        useless.sort(key=lambda known: rates[known.holder.peer_id])
        for known in useless[:others]:
            self._rest(known, now)
        slowest = min(tried, key=lambda known: rates[known.holder.peer_id])
        mean = sum(rates.values()) / len(rates)
        if not useless and mean > 0 and rates[slowest.holder.peer_id] <= mean / _SLOW_PART:
            self._rest(slowest, now)

    def _rest(self, known: _Known, now: float) -> None:
        known.not_before = now + _REST_SECONDS
        known.rests += 1
        known.complaint = f"peer {short_id(known.holder.peer_id)} is slow, or has nothing of it"
        if known.task is not None:
            known.task.cancel()

    async def _employ(self, known: _Known, work: PeerWork) -> None:
        peer = short_id(known.holder.peer_id)
        try:
            await work.run()
        except ProtocolError as error:
            known.is_liar = True
            known.complaint = f"peer {peer} lied: {printable(str(error))}"
            logger.warning("%s. It is asked for nothing more", known.complaint)
        except RefusedError as error:
            wrong = error.reason == Reason.WRONG_MODEL
            pause = _WRONG_MODEL_SECONDS if wrong else error.retry_after_seconds or _REFUSED_SECONDS
            self._pause(known, pause, str(error))
        except HopFailedError as error:
            known.failures = 1 if work.received_bytes else known.failures + 1
            self._pause(
                known, _BACKOFF.longest_seconds(known.failures) / 2 * (1 + random.random()), str(error)
            )
        finally:
            known.is_tried = True
            known.received_bytes += work.received_bytes
            known.work = known.task = None

    def _pause(self, known: _Known, seconds: float, complaint: str) -> None:
        known.not_before = self._clock() + seconds
        known.complaint = printable(complaint)
        # One that gave something until now is news. Of many that never did there would be no end of lines.
        level = logging.INFO if known.work and known.work.received_bytes else logging.DEBUG
        logger.log(level, "%s; it is asked again in %.0f s", known.complaint, seconds)


def _is_useless(known: _Known, now: float) -> bool:
    """Does it bring nothing, or only crumbs that never become a chunk?"""
    if known.work is None:
        return False
    if not known.work.is_useful:
        return True
    has_no_chunk = not known.work.good_chunks and now - known.hired_at >= _CHUNK_SECONDS
    return has_no_chunk or now - known.bytes_at >= _QUEUE_SECONDS
