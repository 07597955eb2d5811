"""Where a gateway keeps files and batches, and what clients are told when that fails."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from p2pinfer.documents.files.file_store import FilesFullError, FileStore
from p2pinfer.documents.files.stored_file import FileLimits
from p2pinfer.documents.jobs.job_store import JobStore, default_store_path
from p2pinfer.errors import DatabaseError, UsageError
from p2pinfer.openai_api.errors import ApiError

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RETRY_SECONDS = 30.0
_THREADS = 4


def default_storage() -> Path:
    """The folder of `python -m p2pinfer.documents`, too."""
    return default_store_path().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Files, batches, and how much of them there may be."""

    jobs: JobStore
    files: FileStore
    limits: FileLimits
    threads: ThreadPoolExecutor
    """Of its own: a disk that hangs must not hold up those who read prompts."""

    @classmethod
    def open(cls, folder: Path, *, most_bytes: int, has_owners: bool) -> Self:
        """Open what is in a folder, or make it. Raises DatabaseError and UsageError, which say what to do."""
        jobs = JobStore.open(folder / default_store_path().name)
        try:
            files = FileStore.open(jobs.tables)
        except BaseException:
            jobs.close()
            raise
        return cls(
            jobs=jobs,
            files=files,
            limits=FileLimits.of(most_bytes, has_owners=has_owners),
            threads=ThreadPoolExecutor(_THREADS, thread_name_prefix="p2pinfer-storage"),
        )

    def close(self) -> None:
        """Close it, when all threads have ended."""
        self.threads.shutdown()
        self.jobs.close()

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `work` returns, in a thread: it waits for the disk.

        Raises ApiError where the disk or the store fails, and what `work` raises besides.
        """
        with storage_errors():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.threads, partial(work, *args, **kwargs))


@contextmanager
def storage_errors() -> Iterator[None]:
    """Within the block, what the disk or the store raises becomes an ApiError."""
    try:
        yield
    except FilesFullError as error:
        raise ApiError(
            429, str(error), kind="rate_limit_error", code="storage_full", retry_after_seconds=_RETRY_SECONDS
        ) from error
    except (OSError, DatabaseError) as error:
        raise of_storage(error) from error


def of_storage(error: OSError | DatabaseError) -> ApiError:
    """What a client is told; the log says which file it is about."""
    logger.error("files and batches can't be kept: %s", error)
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    is_full = (isinstance(cause, OSError) and cause.errno in _NO_SPACE) or "disk is full" in str(error)
    if is_full:
        return ApiError(
            507,
            "The gateway's disk is full: nothing of this was kept.",
            kind="server_error",
            code="disk_full",
            retry_after_seconds=_RETRY_SECONDS,
        )
    return ApiError(
        503,
        "The gateway can't read or write its files now. Its operator finds out why in the log.",
        kind="server_error",
        code="storage_failed",
        retry_after_seconds=_RETRY_SECONDS,
    )


@contextmanager
def opened_storage(folder: Path, *, most_bytes: int, has_owners: bool) -> Iterator[Storage]:
    """The files and batches of a folder, until the block ends.

    Raises UsageError, which says what to do, if they can't be opened.
    """
    try:
        storage = Storage.open(folder, most_bytes=most_bytes, has_owners=has_owners)
    except (DatabaseError, UsageError) as error:
        raise UsageError(
            f"{error}; or choose another one with --batches, or none with --no-batches"
        ) from error
    try:
        yield storage
    finally:
        storage.close()
