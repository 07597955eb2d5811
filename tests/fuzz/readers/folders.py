"""Folders for readers that read files; they are gone when the process ends."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path


def new_folder() -> Path:
    """An empty one."""
    folder = tempfile.TemporaryDirectory(prefix="p2pinfer-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
