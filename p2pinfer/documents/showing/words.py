"""Words for jobs, the same in every place."""

from __future__ import annotations

from datetime import datetime

from p2pinfer.documents.jobs.job import Counts, Job, JobState
from p2pinfer.plain_text import printable, several

SHORT_ID = 12
_PREFIX = "batch_"
_MOST_CHARACTERS = 5_000


def short_job_id(job_id: str) -> str:
    """The beginning of an id, which people type."""
    return job_id.removeprefix(_PREFIX)[:SHORT_ID]


def is_interrupted(job: Job) -> bool:
    """True if nobody runs it though it isn't over: the command that began it goes on.

    A gateway reads the input of its jobs without being their runner.
    """
    if job.runner:
        return False
    is_of_command = "command" in job.settings
    return job.state in (JobState.IN_PROGRESS, JobState.FINALIZING) or (
        job.state is JobState.VALIDATING and is_of_command
    )


def state_in_words(job: Job) -> str:
    """Its state; a job that nobody runs though it isn't over is said to be interrupted."""
    if is_interrupted(job):
        return "interrupted"
    if job.waiting_for:
        return "waiting for servers"
    return job.state.value.replace("_", " ")


def counts_in_words(counts: Counts) -> str:
    """`312 of 1,000 answered, 2 failed, 686 wait`; what is zero is left out."""
    words = [f"{counts.completed:,} of {several(counts.total, 'document')} answered"]
    if counts.failed:
        words.append(f"{counts.failed:,} failed")
    if counts.waiting:
        words.append(f"{counts.waiting:,} wait")
    return ", ".join(words)


def time_of(at: float) -> str:
    """The local time, to the minute."""
    try:
        return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "?"


def setting(job: Job, name: str) -> str:
    """What the job was begun with, for people; empty if it says nothing of the kind."""
    value = job.settings.get(name)
    return "" if value is None else printable(str(value), _MOST_CHARACTERS)
