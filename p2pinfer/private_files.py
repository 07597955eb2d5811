"""Small files that only their owner can read, and that are written whole or not at all; their folders."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create a folder, and what is missing on the way to it, with mode 0700. Raises OSError.

    What was there stays as it is. Path.mkdir gives its mode to the last folder only: under a umask that lets
    others write, as on some storage devices, they could then replace what is in the folder.
    """
    missing = []
    for place in (folder, *folder.parents):
        if place.exists():
            break
        missing.append(place)
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(exist_ok=True)  # raises if it is no folder


def write_private(path: Path, data: bytes, *, replace: bool, durable: bool = True) -> bool:
    """Write `data` to `path` with mode 0600, and create its folder if need be. Raises OSError.

    Without `replace` an existing file stays as it is, even one that another process writes at the same time;
    the result is then False. With `durable` the file survives a power cut after this has returned.
    """
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
            return True
        try:
            os.link(temporary, path)  # unlike a rename, it fails if the file exists
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if path.exists():
                return False
            os.replace(temporary, path)
        return True
    finally:
        temporary.unlink(missing_ok=True)
