"""Reading a small file that somebody names: never a pipe that nobody writes to, never without a bound."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_plain_file(path: Path | str, *, most_bytes: int) -> tuple[bytes, float]:
    """The content of a regular file, and the time of its last change in Unix seconds.

    At most `most_bytes` + 1 bytes are read, so a longer result is a file that is too large. Raises OSError,
    with `strerror` for people, also for a folder, a pipe, a socket or a device.
    """
    try:
        # Opening a pipe would otherwise wait until another program writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a path with a zero byte
        raise OSError(errno.EINVAL, str(error)) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        content = bytearray()
        while len(content) <= most_bytes and (read := os.read(descriptor, most_bytes + 1 - len(content))):
            content += read
        return bytes(content), status.st_mtime
    finally:
        os.close(descriptor)
