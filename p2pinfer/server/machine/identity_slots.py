"""The identities of one machine's servers: each running server has a key file of its own."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.private_files import make_private_folder

MAX_SLOTS = 64


@contextlib.contextmanager
def owned_identity(path: Path | None, data_folder: Path) -> Iterator[Identity]:
    """Load the key file at `path`, or make one.

    Without a path the block owns the first free one of server-1.key, server-2.key, ... in the data folder.
    So every server of a machine keeps its identity across restarts. Raises UsageError if no slot is free or
    the folder can't be written.
    """
    if path is not None:
        yield Identity.load_or_create(path)
        return
    for number in range(1, MAX_SLOTS + 1):
        slot = data_folder / f"server-{number}.slot"
        try:
            make_private_folder(data_folder)
            lock = slot.open("w")
        except OSError as error:
            raise UsageError(f"{slot} can't be written ({error.strerror}): give --identity FILE") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield Identity.load_or_create(slot.with_suffix(".key"))
            return
    raise UsageError(f"{MAX_SLOTS} servers use the identities in {data_folder} already: give --identity FILE")
