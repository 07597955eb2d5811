"""Where a user's files live, as the platform has it.

On Linux that is the XDG Base Directory Specification; on macOS the user's Library, unless an XDG variable
says otherwise. A relative path in a variable is ignored, as the specification asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pinfer.errors import UsageError

_NAME = "p2pinfer"


def user_cache_folder() -> Path:
    """Fetched and converted models: `$XDG_CACHE_HOME/p2pinfer`, or `~/.cache/p2pinfer`. Safe to delete.

    Raises UsageError for a user without a home.
    """
    from platformdirs import user_cache_path  # here: flags can be read before anything is installed

    with _home_is_known("XDG_CACHE_HOME"):
        return user_cache_path(_NAME, appauthor=False)


def user_data_folder() -> Path:
    """Identities, policy, ledger: `$XDG_DATA_HOME/p2pinfer`, or `~/.local/share/p2pinfer`. Keep it.

    Raises UsageError for a user without a home.
    """
    from platformdirs import user_data_path

    with _home_is_known("XDG_DATA_HOME"):
        return user_data_path(_NAME, appauthor=False)


@contextmanager
def _home_is_known(variable: str) -> Iterator[None]:
    """Raise UsageError for a user without a home, as a container may have one."""
    try:
        yield
    except RuntimeError as error:
        raise UsageError(
            f"this user has no home folder: set HOME, or {variable}, to a folder of its own"
        ) from error
