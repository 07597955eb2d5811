"""Which store and which job a command is about."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from p2pinfer.command_line.flags import path
from p2pinfer.documents.jobs.job import Job
from p2pinfer.documents.jobs.job_store import JobStore, default_store_path
from p2pinfer.documents.showing.words import short_job_id
from p2pinfer.errors import UsageError
from p2pinfer.plain_text import printable

_PAGE = 200
_MOST_NAMED = 5
_PREFIX = "batch_"


def add_store(parser: argparse._ActionsContainer) -> None:
    """Add `--store`."""
    parser.add_argument(
        "--store",
        type=path,
        default=default_store_path(),
        metavar="FILE",
        help="where jobs are kept (default: %(default)s)",
    )


def add_job(parser: argparse._ActionsContainer) -> None:
    """Add the job that a command is about."""
    parser.add_argument("job", metavar="JOB", help="its id, or the beginning of it, as `status` shows it")


def all_jobs(store: JobStore) -> Iterator[Job]:
    """Every job, the newest first."""
    after = None
    while page := store.jobs(limit=_PAGE, after=after):
        yield from page
        after = page[-1].id


def find_job(store: JobStore, written: str) -> Job:
    """The job whose id begins like this; `batch_` may be left out. Raises UsageError for none and several."""
    beginning = f"{_PREFIX}{written.strip().lower().removeprefix(_PREFIX)}"
    if exact := store.job(beginning):
        return exact
    found = [job for job in all_jobs(store) if job.id.startswith(beginning)] if written.strip() else []
    if len(found) == 1:
        return found[0]
    shown = printable(written, 100)
    if not found:
        raise UsageError(f"there is no job {shown!r} in {store.tables.path}: `status` shows all")
    ids = ", ".join(short_job_id(job.id) for job in found[:_MOST_NAMED])
    more = f", and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    raise UsageError(f"{shown!r} is the beginning of several jobs: {ids}{more}")


def existing_store(file: Path) -> JobStore:
    """The store at a path: commands that only look make none. Raises UsageError where there is none."""
    if not file.exists():
        raise UsageError(f"there is no job: {file} doesn't exist")
    return JobStore.open(file)
