"""Which servers run: those of a status file, and those of this user, wherever their files are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from p2pinfer.errors import UsageError
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.status import Status, read_statuses

if TYPE_CHECKING:
    import psutil

_CLOCK_SECONDS = 5.0


def runs(status: Status) -> bool:
    """True if the process exists, and isn't a later process with the same number."""
    import psutil  # here: the list of commands is shown without it, too

    try:
        process = psutil.Process(status.process)
        return process.create_time() <= status.written_at + _CLOCK_SECONDS and (
            process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def servers_of_this_user() -> dict[Path, list[Status]]:
    """The running servers by data folder, also where their folder is another than the default.

    A server holds its ledger open as long as it runs. A server in a container isn't seen from outside, and
    none is seen without psutil, which every server needs.
    """
    try:
        import psutil
    except ImportError:
        return {}

    found: dict[Path, list[Status]] = {}
    for process in psutil.process_iter():
        for folder in _folders_in_use(process):
            with contextlib.suppress(UsageError):
                found.setdefault(folder, []).extend(
                    status
                    for status in read_statuses(OwnerFiles(folder).statuses)
                    if status.process == process.pid and runs(status)
                )
    return {folder: statuses for folder, statuses in sorted(found.items()) if statuses}


def _folders_in_use(process: psutil.Process) -> Iterator[Path]:
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        if process.uids().real == os.getuid():
            for path in {Path(file.path) for file in process.open_files()}:
                if path == OwnerFiles(path.parent).ledger:
                    yield path.parent
