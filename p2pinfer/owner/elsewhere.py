"""For an owner who asks the wrong folder: where the servers of this user keep their files."""

from __future__ import annotations

from pathlib import Path

from p2pinfer.owner.command_text import owner_command
from p2pinfer.owner.liveness import servers_of_this_user

_MOST = 5


def elsewhere(command: str, data_folder: Path) -> str:
    """One line: the same command for other folders with running servers. Empty if there are none."""
    others = [folder for folder in servers_of_this_user() if folder != data_folder.resolve()]
    if not others:
        return ""
    commands = " or ".join(owner_command(command, folder) for folder in others[:_MOST])
    more = f", and {len(others) - _MOST} more" if len(others) > _MOST else ""
    return f"servers of yours run with files in other folders: {commands}{more}"
