"""Where a user's files live, by the XDG Base Directory Specification."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache_folder() -> Path:
    """Fetched and converted models: $XDG_CACHE_HOME/p2pinfer, or ~/.cache/p2pinfer. Safe to delete."""
    return _user_folder("XDG_CACHE_HOME", ".cache")


def user_data_folder() -> Path:
    """What must not be lost, such as identities: $XDG_DATA_HOME/p2pinfer, or ~/.local/share/p2pinfer."""
    return _user_folder("XDG_DATA_HOME", ".local/share")


def _user_folder(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    return (Path(base) if os.path.isabs(base) else Path.home() / default) / "p2pinfer"
