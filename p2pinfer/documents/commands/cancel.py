"""`python -m p2pinfer.documents cancel`: end a job for good, whoever runs it. What was answered stays."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from pathlib import Path

from p2pinfer.documents.jobs.job import Job, JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.program.choosing import add_job, add_store, existing_store, find_job
from p2pinfer.documents.running.output_file import JobFiles
from p2pinfer.documents.running.runner import runner_name
from p2pinfer.documents.running.winding_up import wind_up
from p2pinfer.documents.showing.words import counts_in_words, short_job_id, state_in_words
from p2pinfer.errors import JobError, P2PInferError, UsageError

HELP = "end a job; its answers so far stay"

_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_job(parser)
    add_store(parser)


def run(args: argparse.Namespace) -> int:
    """End it. Raises UsageError for a job that isn't there, or is over."""
    with existing_store(args.store) as store:
        job = find_job(store, args.job)
        if job.state.is_over:
            raise UsageError(f"job {short_job_id(job.id)} is over already: {state_in_words(job)}")
        job = _ended_unbegun(store, job) if job.state is JobState.VALIDATING else _ended(store, job)
        if job.state.is_over:
            print(f"cancelled: {counts_in_words(job.counts)}")
        else:
            print(f"{job.runner or 'the program that began it'} will end it: {counts_in_words(job.counts)}")
    return 0


def _ended_unbegun(store: JobStore, job: Job) -> Job:
    """A job whose program was killed while it read the input."""
    try:
        claim = store.claim(job.id, runner_name())
    except JobError as error:
        raise UsageError(
            f"job {short_job_id(job.id)} is still reading its input, in {job.runner}: press Ctrl-C there"
        ) from error
    with claim:
        return store.fail(job.id, [{"code": "cancelled", "message": "cancelled before it began"}])


def _ended(store: JobStore, job: Job) -> Job:
    """The job after whoever runs it has ended it; where nobody runs it, we do."""
    job = store.cancel(job.id)
    deadline = time.monotonic() + _WAIT_SECONDS
    while not job.state.is_over and time.monotonic() < deadline:
        if not job.runner:
            if "output" not in job.settings:
                return job  # a gateway's: it ends it when it runs again
            with suppress(JobError), store.claim(job.id, runner_name()):  # somebody may run it just now
                return _wound_up(store, job)
        time.sleep(_LOOK_SECONDS)
        job = store.job(job.id) or job
    return job


def _wound_up(store: JobStore, job: Job) -> Job:
    answers, errors = Path(job.settings["output"]), Path(job.settings["errors"])
    files = JobFiles(store, job.id, answers=answers, errors=errors)
    try:
        return wind_up(store, job.id, files=files, now=time.time)
    except JobError as error:
        raise P2PInferError(str(error)) from error
    finally:
        files.close()
