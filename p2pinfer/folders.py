"""Where a user's files live, as the platform has it.

On Linux that is the XDG Base Directory Specification; on macOS the user's Library, unless an XDG variable
says otherwise. A relative path in a variable is ignored, as the specification asks.
"""

from __future__ import annotations

from pathlib import Path

_NAME = "p2pinfer"


def user_cache_folder() -> Path:
    """Fetched and converted models: `$XDG_CACHE_HOME/p2pinfer`, or `~/.cache/p2pinfer`. Safe to delete."""
    from platformdirs import user_cache_path  # here: flags can be read before anything is installed

    return user_cache_path(_NAME, appauthor=False)


def user_data_folder() -> Path:
    """Identities, policy, ledger: `$XDG_DATA_HOME/p2pinfer`, or `~/.local/share/p2pinfer`. Keep it."""
    from platformdirs import user_data_path

    return user_data_path(_NAME, appauthor=False)
