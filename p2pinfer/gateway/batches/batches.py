"""Takes batches through their states: checks their input, gives them turns, writes their results.

What has to survive a kill is in the store, so a gateway that starts goes on where one was killed. Several
gateways may share a store: each batch is claimed by the one that works on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from p2pinfer.documents.jobs.claims import Claim
from p2pinfer.documents.jobs.job import Job, JobState
from p2pinfer.documents.jobs.queue import Unfinished, unfinished
from p2pinfer.documents.running.runner import runner_name
from p2pinfer.errors import JobError, P2PInferError
from p2pinfer.gateway.batches.allowances import HeldUpError
from p2pinfer.gateway.batches.one_batch import BatchTools, check_input, run_batch
from p2pinfer.gateway.batches.sweeping import sweep
from p2pinfer.gateway.batches.turns import next_turns
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.tasks import Nursery

logger = logging.getLogger(__name__)

_PLACES = 4
"""Batches that run at the same time, each of another owner."""
_ENDING_PLACES = 8
"""Batches that only have to be brought to their end."""
_CHECKING_PLACES = 2
_MOST_LOOKED_AT = 4_000

_LOOK_SECONDS = 5.0
"""Between two looks, for what other gateways leave behind."""
_LOOK_AGAIN_SECONDS = 0.1
_SWEEP_SECONDS = 60.0
_FOREIGN_SECONDS = 3_600.0
"""After which a batch of another gateway is checked here, also if this one hasn't its model."""
_FOREIGN_PAUSE_SECONDS = 2.0
_PAUSE_SECONDS = 15.0
_FAULT_PAUSE_SECONDS = 300.0
"""For a batch that can't go on now: another gateway has it; the disk is full; a fault."""

_ENDING = frozenset({JobState.FINALIZING, JobState.CANCELLING})


class Batches:
    """All batches of one gateway. For the event loop."""

    def __init__(self, tools: BatchTools) -> None:
        self._tools = tools
        self.storage = tools.storage
        self._name = f"gateway {runner_name()}"
        self._woken = asyncio.Event()
        self._made_here: set[str] = set()
        self._checked: set[str] = set()
        self._checking: dict[str, str] = {}  # batch -> owner
        self._ending: set[str] = set()
        self._running: dict[str, str] = {}  # batch -> owner
        self._pauses: dict[str, float] = {}  # batch -> until when
        self._last_turns: dict[str, float] = {}  # owner -> when
        self._last_checks: dict[str, float] = {}  # likewise

    def made(self, batch_id: str) -> None:
        """A batch has just been made here."""
        self._made_here.add(batch_id)
        self.wake()

    def wake(self) -> None:
        """Look at the batches soon: something has changed."""
        self._woken.set()

    async def run_forever(self) -> None:
        """Run until cancelled. What is under way then goes on at the next start."""
        async with Nursery() as nursery:
            nursery.start(self._sweep_forever())
            while True:
                self._woken.clear()
                await self._look(nursery)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._woken.wait()

    async def _look(self, nursery: Nursery) -> None:
        """Begin what there are places for."""
        known = self._made_here | self._checked | self._pauses.keys()  # others may be made meanwhile
        try:
            jobs = await self.storage.run(unfinished, self.storage.jobs.tables, limit=_MOST_LOOKED_AT)
        except ApiError:
            return  # it is in the log
        except Exception:
            logger.exception("batches can't be looked at because of a fault of p2pinfer")
            return
        self._forget(known - {job.id for job in jobs})
        busy = self._checking.keys() | self._ending | self._running.keys()
        now = time.monotonic()
        free = [job for job in jobs if job.id not in busy and self._pauses.get(job.id, 0.0) <= now]
        ending = [job for job in free if job.state in _ENDING]
        for job in ending[: _ENDING_PLACES - len(self._ending)]:
            self._ending.add(job.id)
            nursery.start(self._work_on(job, self._run, self._ending.discard))
        for job in next_turns(
            [job for job in free if self._wants_check(job)],
            running=set(self._checking.values()),
            last_turns=self._last_checks,
            places=_CHECKING_PLACES - len(self._checking),
        ):
            self._checking[job.id] = job.owner
            self._last_checks[job.owner] = now
            nursery.start(self._work_on(job, self._check, self._checking.pop))
        for job in next_turns(
            [job for job in free if self._is_ready(job)],
            running=set(self._running.values()),
            last_turns=self._last_turns,
            places=_PLACES - len(self._running),
        ):
            self._running[job.id] = job.owner
            self._last_turns[job.owner] = now
            nursery.start(self._work_on(job, self._run, self._running.pop))

    def _forget(self, over: set[str]) -> None:
        """What is known of batches that are over."""
        self._checked -= over
        self._made_here -= over
        for one in over & self._pauses.keys():
            del self._pauses[one]

    def _wants_check(self, job: Unfinished) -> bool:
        """Only a gateway that has the model can say what is wrong, or the one that took the batch."""
        if job.state is not JobState.VALIDATING or job.id in self._checked or self._has_expired(job):
            return False
        if not self._tools.models.list():
            return False  # there will be one soon
        is_ours = job.id in self._made_here or self._age_seconds(job) > _FOREIGN_SECONDS
        return is_ours or self._is_served(job)

    def _is_ready(self, job: Unfinished) -> bool:
        if job.state in _ENDING:
            return False
        if self._has_expired(job):
            return True
        if job.state is JobState.VALIDATING and job.id not in self._checked:
            return False
        return self._is_served(job) and self._tools.may_go_on(job.owner)

    def _is_served(self, job: Unfinished) -> bool:
        return self._tools.models.get(job.model) is not None

    def _has_expired(self, job: Unfinished) -> bool:
        return job.expires_at is not None and job.expires_at <= self.storage.jobs.tables.now()

    def _age_seconds(self, job: Unfinished) -> float:
        return self.storage.jobs.tables.now() - job.created_at

    async def _work_on(
        self,
        job: Unfinished,
        work: Callable[[Job, Claim], Coroutine[Any, Any, None]],
        ended: Callable[[str], object],
    ) -> None:
        """Do one thing with a batch, unless another gateway does. What goes wrong is tried again later."""
        jobs = self.storage.jobs
        try:
            with await self.storage.run(jobs.claim, job.id, self._name) as claim:
                now = await self.storage.run(jobs.job, job.id)
                if now is not None and not now.state.is_over:
                    await work(now, claim)
        except HeldUpError:
            logger.debug("batch %s is held up: its key may not go on, or its model is away", job.id)
        except JobError as error:  # it is another gateway's, or was cancelled meanwhile
            logger.debug("batch %s: %s", job.id, error)
            self._pause(job, _FOREIGN_PAUSE_SECONDS)
        except (ApiError, P2PInferError, OSError) as error:
            logger.warning("batch %s can't go on, and is tried again: %s", job.id, error)
            self._pause(job, _PAUSE_SECONDS)
        except Exception:
            logger.exception("batch %s can't go on because of a fault of p2pinfer", job.id)
            self._pause(job, _FAULT_PAUSE_SECONDS)
        finally:
            ended(job.id)
            self.wake()

    def _pause(self, job: Unfinished, seconds: float) -> None:
        self._pauses[job.id] = time.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self.wake)

    async def _check(self, job: Job, claim: Claim) -> None:
        if job.state is JobState.VALIDATING and await check_input(self._tools, job):
            self._checked.add(job.id)

    async def _run(self, job: Job, claim: Claim) -> None:
        _log_end(await run_batch(self._tools, job, claim))

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.storage.run(sweep, self.storage)
            except ApiError:
                pass  # it is in the log
            except Exception:
                logger.exception("files and batches can't be swept because of a fault of p2pinfer")
            await asyncio.sleep(_SWEEP_SECONDS)


def _log_end(job: Job) -> None:
    logger.info(
        "batch ended id=%s documents=%d answered=%d failed=%d prefill_tokens=%d cached_tokens=%d "
        "decode_tokens=%d outcome=%s",
        job.id,
        job.counts.total,
        job.counts.completed,
        job.counts.failed,
        job.spent.prefill_tokens,
        job.spent.cached_tokens,
        job.spent.decode_tokens,
        job.state,
    )
