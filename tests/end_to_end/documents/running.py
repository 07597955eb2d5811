"""A running `python -m p2pinfer.documents`, as a process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2pinfer.documents.jobs.job import Job
from p2pinfer.documents.jobs.job_store import JobStore

SECONDS = 120.0


def documents(*words: object, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its files in `folder`."""
    return subprocess.run(
        _command(words, folder), cwd=folder, capture_output=True, text=True, check=check, timeout=SECONDS
    )


def started(*words: object, folder: Path) -> subprocess.Popen[str]:
    """Begin a command; both its outputs go into `folder`/log."""
    with (folder / "log").open("a") as log:
        return subprocess.Popen(_command(words, folder), cwd=folder, stdout=log, stderr=log, text=True)


def status(folder: Path, out: str) -> dict[str, Any] | None:
    """The job that writes `out`, as another process sees it; None while there is none."""
    jobs = json.loads(documents("status", "--json", folder=folder).stdout)
    return next((job for job in jobs if job["settings"]["output"] == str(folder / out)), None)


def until_answered(process: subprocess.Popen[str], folder: Path, out: str, least: int) -> None:
    """Wait until the job that writes `out` has so many answers. Its process has to run meanwhile.

    In the store itself: `status` takes a second to start, and a short job has ended by then.
    """

    def is_answered(job: Job) -> bool:
        return job.settings.get("output") == str(folder / out) and job.counts.completed >= least

    deadline = time.monotonic() + SECONDS
    with JobStore.open(folder / "jobs.sqlite") as store:
        while not any(map(is_answered, store.jobs())):
            has_ended = process.poll() is not None
            if has_ended and any(map(is_answered, store.jobs())):
                return
            assert not has_ended, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)


def texts_of(file: Path) -> dict[str, str]:
    """The answers of a file by their custom_id. Fails if one is there twice."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = {one["custom_id"]: _text(one["response"]["body"]["choices"][0]) for one in lines}
    assert len(found) == len(lines)
    return found


def _text(choice: dict[str, Any]) -> str:
    return str(choice["text"] if "text" in choice else choice["message"]["content"])


def _command(words: Sequence[object], folder: Path) -> list[str]:
    own = ["--store", folder / "jobs.sqlite"] + (["--identity", folder / "key"] if words[0] == "run" else [])
    return [sys.executable, "-m", "p2pinfer.documents", *map(str, [*words, *own])]
