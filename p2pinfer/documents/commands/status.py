"""`python -m p2pinfer.documents status`: the jobs of this machine, or one of them; also while they run."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import islice

from p2pinfer.command_line.flags import path
from p2pinfer.documents.jobs.job import Job
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.program.choosing import add_store, all_jobs, existing_store, find_job
from p2pinfer.documents.showing.costs import Cost, costs
from p2pinfer.documents.showing.job_details import job_json, job_lines
from p2pinfer.documents.showing.job_table import job_table
from p2pinfer.owner.statement.rates import Rate, read_rates

HELP = "show the jobs of this machine, or one of them with what it costs"

_MOST_SHOWN = 1_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument(
        "job", nargs="?", metavar="JOB", help="show this one: its id, or the beginning of it (default: all)"
    )
    parser.add_argument(
        "--rates",
        type=path,
        metavar="FILE",
        help="what sponsors pay, a rates.toml as owners have it: tell what the work is worth by it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    add_store(parser)


def run(args: argparse.Namespace) -> int:
    """Print them. Raises UsageError for a job that isn't there, and for a wrong file of rates."""
    rates = None if args.rates is None else read_rates(args.rates)
    if args.job is None and not args.store.exists():
        print("[]" if args.json else f"no jobs: {args.store} doesn't exist yet")
        return 0
    with existing_store(args.store) as store:
        if args.job is None:
            _print_all(store, rates, as_json=args.json)
        else:
            _print_one(find_job(store, args.job), rates, as_json=args.json)
    return 0


def _print_all(store: JobStore, rates: Sequence[Rate] | None, *, as_json: bool) -> None:
    jobs = list(islice(all_jobs(store), _MOST_SHOWN))
    if as_json:
        now = time.time()
        print(json.dumps([job_json(job, _costs(job, rates, now)) for job in jobs], indent=2))
    elif not jobs:
        print(f"no jobs: none is in {store.tables.path}")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(job_table(jobs, width)))
        if len(jobs) == _MOST_SHOWN:
            print(f"older ones than these {_MOST_SHOWN:,} are not shown")


def _print_one(job: Job, rates: Sequence[Rate] | None, *, as_json: bool) -> None:
    now = time.time()
    found = _costs(job, rates, now)
    if as_json:
        print(json.dumps(job_json(job, found), indent=2))
    else:
        print("\n".join(job_lines(job, found, now)))


def _costs(job: Job, rates: Sequence[Rate] | None, now: float) -> list[Cost] | None:
    return None if rates is None else costs(job, rates, now)
