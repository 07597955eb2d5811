"""A running `python -m p2pinfer.documents`, as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def status(folder: Path) -> dict[str, Any]:
    """The newest job of `folder`, as another process sees it."""
    jobs = json.loads(documents("status", "--json", folder=folder).stdout)
    found: dict[str, Any] = jobs[0]
    return found


def until_answered(process: subprocess.Popen[str], folder: Path, least: int) -> None:
    """Wait until the newest job has so many answers, while its process runs."""
    deadline = time.monotonic() + SECONDS
    store = folder / "jobs.sqlite"
    while not (store.exists() and (jobs := _jobs(folder)) and jobs[0]["documents"]["completed"] >= least):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.1)


def texts_of(file: Path) -> dict[str, str]:
    """The answers of a file by their custom_id. Fails if one is there twice."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = {one["custom_id"]: _text(one["response"]["body"]["choices"][0]) for one in lines}
    assert len(found) == len(lines)
    return found


def _jobs(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads(documents("status", "--json", folder=folder).stdout))


def _text(choice: dict[str, Any]) -> str:
    return str(choice["text"] if "text" in choice else choice["message"]["content"])


def _command(words: Sequence[object], folder: Path) -> list[str]:
    own = ["--store", folder / "jobs.sqlite"] + (["--identity", folder / "key"] if words[0] == "run" else [])
    return [sys.executable, "-m", "p2pinfer.documents", *map(os.fspath, map(_word, [*words, *own]))]


def _word(word: object) -> str:
    return str(word)
