"""All jobs, as a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.command_line.tables import Column, table
from p2pinfer.documents.jobs.job import Job
from p2pinfer.documents.showing.words import setting, short_job_id, state_in_words, time_of
from p2pinfer.plain_text import short_count

_MOST_OUTPUT_COLUMNS = 60


def job_table(jobs: Sequence[Job], width: int | None) -> list[str]:
    """The lines of a table with a row for each job, in `width` terminal columns if that is given."""
    return table(
        [
            Column(title="JOB", cells=[short_job_id(job.id) for job in jobs]),
            Column(title="STATE", cells=[state_in_words(job) for job in jobs]),
            Column(
                title="ANSWERED",
                cells=[f"{job.counts.completed:,} of {job.counts.total:,}" for job in jobs],
                align_right=True,
            ),
            Column(title="FAILED", cells=[f"{job.counts.failed:,}" for job in jobs], align_right=True),
            Column(
                title="LAYER-TOKENS",
                cells=[short_count(job.layer_tokens) for job in jobs],
                align_right=True,
                rank=2,
            ),
            Column(title="BEGAN", cells=[time_of(job.created_at) for job in jobs], rank=3),
            Column(
                title="OUTPUT",
                cells=[setting(job, "output") or job.output_file or "" for job in jobs],
                rank=1,
                most=_MOST_OUTPUT_COLUMNS,
            ),
        ],
        width,
    )
