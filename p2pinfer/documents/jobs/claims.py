"""Who runs a job: a lock for each job, that the kernel frees when its process dies.

A claim is a file with the runner's name, locked by flock. It is removed while it is locked, so whoever locks
one looks whether it is still the one at that path.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pinfer.errors import JobError, JobStoreError
from p2pinfer.plain_text import printable
from p2pinfer.private_files import make_private_folder

_TRIES = 20
_PAUSE_SECONDS = 0.01  # `holder` holds a lock for some microseconds, and a leaving runner for as long
_MOST_NAME_BYTES = 200


class Claim:
    """The right to run a job, until it is released or the process ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use `Claims.take` instead."""
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it up. Releasing twice is harmless."""
        if self._descriptor < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Claims:
    """The claims of one store, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, job_id: str, runner: str) -> Claim:
        """Claim a job. Raises JobError, naming who has it; JobStoreError if the folder can't be written."""
        path = self._folder / job_id
        name = ""
        try:
            make_private_folder(self._folder)
            for _ in range(_TRIES):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    if _lock(descriptor, fcntl.LOCK_EX) and _is_at(descriptor, path):
                        os.truncate(descriptor, 0)
                        os.pwrite(descriptor, _name_bytes(runner), 0)
                        claim = Claim(path, descriptor)
                        descriptor = -1
                        return claim
                    name = _name(descriptor)
                finally:
                    if descriptor >= 0:
                        os.close(descriptor)
                time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise JobStoreError(
                f"{path} can't be made or locked ({error.strerror}): check its folder and the disk"
            ) from error
        raise JobError(
            f"job {job_id} is run by {name or 'another process'} already: wait for it, or cancel it"
        )

    def holder(self, job_id: str) -> str:
        """The name of who has claimed a job; empty: nobody."""
        try:
            descriptor = os.open(self._folder / job_id, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            is_free = _lock(descriptor, fcntl.LOCK_SH)
            return "" if is_free else _name(descriptor) or "another process"
        except OSError:
            return ""
        finally:
            os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _name_bytes(runner: str) -> bytes:
    return printable(runner).encode("utf-8", "replace")[:_MOST_NAME_BYTES]


def _name(descriptor: int) -> str:
    return printable(os.pread(descriptor, _MOST_NAME_BYTES, 0).decode("utf-8", "replace"))
