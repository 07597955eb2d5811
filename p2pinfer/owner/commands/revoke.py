"""`python -m p2pinfer.owner revoke`: take the consent back."""

from __future__ import annotations

import argparse
from pathlib import Path

from p2pinfer.command_line.program import FAILED
from p2pinfer.owner.command_text import owner_command
from p2pinfer.owner.consent import revoke_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.liveness import servers_of_this_user
from p2pinfer.owner.status import Status
from p2pinfer.plain_text import printable
from p2pinfer.types import short_id

HELP = "take your consent back: running servers stop, and none starts again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no flags: there is nothing to choose."""


def run(args: argparse.Namespace) -> int:
    """Delete the consent. Running servers look for it every few seconds.

    Returns 1 if there was no consent here, but servers of this user run with other folders.
    """
    folder: Path = args.data_folder.resolve()
    revoked = revoke_consent(OwnerFiles(folder).consent)
    servers = servers_of_this_user()
    here = servers.pop(folder, [])
    if revoked:
        print(f"consent in {folder} taken back: no server starts there until you agree again")
        for status in here:
            print(f"  {_server(status)} stops within seconds")
    else:
        print(f"there was no consent to take back in {folder}")
    if folder.is_dir():
        print(f"identity, policy and ledger stay in {folder}")
    if servers:
        print("\nThese servers of yours go on: their files are in other folders.")
        for other, statuses in servers.items():
            print(f"  {', '.join(map(_server, statuses))}; to stop: {owner_command('revoke', other)}")
    return FAILED if servers and not revoked else 0


def _server(status: Status) -> str:
    name = f"{printable(status.public_name, 64)} " if status.public_name else ""
    return f"server {name}{short_id(status.peer_id)} (process {status.process})"
