"""`python -m p2pinfer.documents forget`: remove a job with all that is kept of it. Its files stay."""

from __future__ import annotations

import argparse

from p2pinfer.documents.program.choosing import add_job, add_store, existing_store, find_job
from p2pinfer.documents.showing.words import counts_in_words

HELP = "remove a job and what is kept of it; its files stay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_job(parser)
    add_store(parser)


def run(args: argparse.Namespace) -> int:
    """Remove it. Raises UsageError for a job that isn't there, or that somebody runs."""
    with existing_store(args.store) as store:
        job = find_job(store, args.job)
        store.delete(job.id)
        print(f"forgotten: {job.id}, {counts_in_words(job.counts)}")
    return 0
