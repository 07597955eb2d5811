"""`python -m p2pinfer.owner status`: what this machine's servers are doing, and why."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

from p2pinfer.owner.command_text import owner_command, server_command
from p2pinfer.owner.consent import read_consent
from p2pinfer.owner.elsewhere import elsewhere
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.liveness import runs
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import Status, read_statuses
from p2pinfer.plain_text import bytes_in_words, several
from p2pinfer.types import short_id

HELP = "show what this machine's servers are doing, and why"

_RECENT_SECONDS = 7 * 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument(
        "--all", action="store_true", help="show servers that ended more than a week ago, too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Print the latest status of every server."""
    files, now = OwnerFiles(args.data_folder), time.time()
    statuses = [
        status
        for status in read_statuses(files.statuses)
        if args.all or runs(status) or now - status.written_at < _RECENT_SECONDS
    ]
    if args.json:
        print(json.dumps([asdict(status) | {"runs": runs(status)} for status in statuses], indent=2))
        return 0
    consent = read_consent(files.consent)
    if consent is None:
        print(f"consent: none; no server runs before you agree: {owner_command('accept', files.folder)}")
    else:
        again = f", but the text has changed: {owner_command('accept', files.folder)}"
        print(f"consent: given on {consent.accepted_at[:10]}{'' if consent.is_current else again}")
    print(f"policy:  {files.policy if files.policy.exists() else 'none: servers work whenever they run'}")
    for status in statuses:
        print()
        print("\n".join(_lines(status, now)))
    if not statuses:
        print(f"\nno server has run here: {server_command(files.folder)}")
        if hint := elsewhere("status", files.folder):
            print(f"But {hint}")
    return 0


def _lines(status: Status, now: float) -> Iterator[str]:
    name = f"{status.public_name} " if status.public_name else ""
    yield f"server {name}{short_id(status.peer_id)}{f', {status.model}' if status.model else ''}"
    if status.state is not OwnerState.OFF and not runs(status):
        yield f"  off since some time after {_clock(status.written_at)}: it ended without saying why"
        return
    yield f"  {status.state} since {_clock(status.since)}: {status.words}"
    if status.leaves_at is not None:
        yield f"  will pause at {_clock(status.leaves_at)}"
    if status.state in (OwnerState.SERVING, OwnerState.DRAINING):
        sessions = several(status.sessions, "session")
        unsigned = f"{status.unsigned_tokens} tokens not signed for yet"
        layers = f"layers {status.layers}" if status.layers else "loading other layers"
        yield f"  {layers}, {sessions}, {unsigned}"
        watts = "" if status.watts is None else f"; the machine draws about {status.watts:.1f} W"
        yield f"  may compute {status.duty:.0%} of the time{watts}"
        if status.reached:
            yield f"  {status.reached}"
        if status.relaying:
            yield f"  relays for others: {status.relaying}"
        if status.shared_bytes:
            yield f"  gave {bytes_in_words(status.shared_bytes)} of model files to others this month"
    if status.state is OwnerState.OFF:
        return
    for signal, line in sorted(status.signals.items()):
        age = max(0.0, now - line.at)
        origin = f" ({line.origin})" if line.origin else ""
        yield f"  {signal:<16} {line.value}, {age:.0f} s ago{origin}"
    for origin, trouble in sorted(status.troubles.items()):
        yield f"  trouble          {origin}: {trouble}"


def _clock(at: float) -> str:
    """The local time, with the date if it isn't today."""
    then = datetime.fromtimestamp(at)
    return then.strftime("%H:%M:%S" if then.date() == datetime.now().date() else "%Y-%m-%d %H:%M")
