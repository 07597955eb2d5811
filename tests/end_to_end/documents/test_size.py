"""Jobs with very many documents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from p2pinfer.documents.jobs.job import Counts, JobState
from p2pinfer.documents.jobs.job_store import JobStore

ROOT = Path(__file__).parents[3]
DOCUMENTS = 100_000
MOST_GROWTH_MB = 50


def test_a_hundred_thousand_documents_take_no_memory(tmp_path: Path):
    """They are made, answered and written; measured: 15 MB, which is SQLite's cache and one write."""
    printed = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.documents.large_job", str(tmp_path), str(DOCUMENTS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert int(printed) < MOST_GROWTH_MB
    with JobStore.open(tmp_path / "jobs.sqlite") as store:
        [job] = store.jobs()
        assert (job.state, job.counts) == (JobState.COMPLETED, Counts(total=DOCUMENTS, completed=DOCUMENTS))
    with (tmp_path / "out.jsonl").open("rb") as lines:
        assert sum(1 for _ in lines) == DOCUMENTS
