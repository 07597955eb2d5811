"""What a run says at its end. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from p2pinfer.documents.jobs.job import Job, JobState
from p2pinfer.documents.showing.words import counts_in_words, setting, state_in_words, time_of
from p2pinfer.plain_text import seconds_in_words


def run_lines(after: Job, *, seconds: float) -> Iterator[str]:
    """After a run of so many seconds, which left the job like this."""
    counts, spent = after.counts, after.spent
    if after.state is JobState.IN_PROGRESS:
        yield (
            f"the budget is spent: {counts_in_words(counts)}; the same command with a larger "
            "--max-layer-tokens goes on"
        )
    elif after.state is JobState.COMPLETED:
        yield f"done in {seconds_in_words(seconds)}: {counts_in_words(counts)}"
    else:
        yield f"{state_in_words(after)}: {counts_in_words(counts)}"
    cached = f"; {spent.cached_tokens:,} tokens of prompts were cached" if spent.cached_tokens else ""
    yield (
        f"work: {after.layer_tokens:,} layer-tokens, from {spent.prefill_tokens:,} tokens of prompts and "
        f"{spent.decode_tokens:,} of answers{cached}"
    )
    yield from _files(after)


def over_lines(job: Job, *, is_written_again: bool) -> Iterator[str]:
    """About a job that was over before this run."""
    at = time_of(job.at.get(job.state, job.created_at))
    yield f"this job was {state_in_words(job)} at {at}: {counts_in_words(job.counts)}. --again begins anew"
    if is_written_again:
        yield "some answers or errors were missing, and are written again from what the job keeps"
    yield from _files(job)


def _files(job: Job) -> Iterator[str]:
    yield f"answers: {setting(job, 'output')}"
    if job.counts.failed:
        yield f"errors:  {setting(job, 'errors')}"
