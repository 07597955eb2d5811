"""Commands for the owner, ready to be copied from a message into a terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

from p2pinfer.folders import user_data_folder


def owner_command(command: str, data_folder: Path) -> str:
    """`python -m p2pinfer.owner COMMAND` for the files in this folder. The default folder isn't named."""
    flag = "" if data_folder == user_data_folder() else f"--data-folder {shlex.quote(str(data_folder))} "
    return f"python -m p2pinfer.owner {flag}{command}"
