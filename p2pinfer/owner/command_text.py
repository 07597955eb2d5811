"""Commands for the owner, ready to be copied from a message into a terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

from p2pinfer.folders import user_data_folder


def owner_command(command: str, data_folder: Path) -> str:
    """`python -m p2pinfer.owner COMMAND` for the files in this folder. The default folder isn't named."""
    return f"python -m p2pinfer.owner {_flag(data_folder)}{command}"


def server_command(data_folder: Path) -> str:
    """`python -m p2pinfer.server MODEL` with its files in this folder. The default folder isn't named."""
    return f"python -m p2pinfer.server MODEL {_flag(data_folder)}".rstrip()


def _flag(data_folder: Path) -> str:
    """The flag for a folder, which works from every other folder, too; with a blank behind it."""
    folder = data_folder.absolute()
    return "" if folder == user_data_folder() else f"--data-folder {shlex.quote(str(folder))} "
