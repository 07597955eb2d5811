"""`python -m p2pinfer.gateway keys`: make, list and remove API keys."""

from __future__ import annotations

import argparse
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from p2pinfer.command_line.flags import path, text, whole_number
from p2pinfer.command_line.output import complain, show
from p2pinfer.command_line.program import Parser, program_parser
from p2pinfer.command_line.tables import Column, table
from p2pinfer.errors import UsageError
from p2pinfer.folders import user_data_folder
from p2pinfer.gateway.access.key_file import read_keys, write_keys
from p2pinfer.gateway.access.keys import MOST_KEYS, MOST_LIMIT, Key, check_name, new_key
from p2pinfer.private_files import make_private_folder

_DESCRIPTION = """\
Make, list and remove the API keys of a gateway. The file has only hashes: a key is shown once, when it is
made. A running gateway sees each change at once.
"""


def default_key_file() -> Path:
    """Where keys are kept unless a flag says otherwise."""
    return user_data_folder() / "gateway" / "keys.json"


def run_key_command(arguments: Sequence[str]) -> int:
    """Do what the command line says. Returns the exit status. Raises UsageError."""
    flags = _parser().parse_args(arguments)
    if flags.command == "add":
        _add(flags)
    elif flags.command == "remove":
        _remove(flags)
    else:
        _list(flags)
    return 0


def _add(flags: argparse.Namespace) -> None:
    check_name(flags.name)
    with _only_writer(flags.api_keys):
        keys = read_keys(flags.api_keys) if flags.api_keys.exists() else {}
        if any(key.name == flags.name for key in keys.values()):
            raise UsageError(
                f"there is a key of {flags.name} already: remove it first, or choose another name"
            )
        if len(keys) >= MOST_KEYS:
            raise UsageError(f"a file has at most {MOST_KEYS:,} keys")
        limits = {
            name: getattr(flags, name) for name in ("requests_per_minute", "tokens_per_day", "concurrent")
        }
        made, key = new_key(flags.name, created=datetime.now(UTC).date().isoformat(), limits=limits)
        write_keys(flags.api_keys, {**keys, key.id: key})
    complain(f"The key of {flags.name}, which isn't shown again (its hash is in {flags.api_keys}):")
    show(made)


def _remove(flags: argparse.Namespace) -> None:
    with _only_writer(flags.api_keys):
        keys = read_keys(flags.api_keys)
        left = {identifier: key for identifier, key in keys.items() if key.name != flags.name}
        if len(left) == len(keys):
            raise UsageError(f"{flags.api_keys} has no key of {flags.name}")
        write_keys(flags.api_keys, left)
    show(f"The key of {flags.name} doesn't work any more.")


def _list(flags: argparse.Namespace) -> None:
    keys = read_keys(flags.api_keys)
    if not keys:
        show(f"{flags.api_keys} has no keys")
        return
    show(_table(list(keys.values())))


def _table(keys: Sequence[Key]) -> str:
    def limits(name: str) -> list[str]:
        found = [getattr(key, name) for key in keys]
        return ["" if limit is None else f"{limit:,}" for limit in found]

    columns = [
        Column(title="name", cells=[key.name for key in keys]),
        Column(title="made", cells=[key.created for key in keys]),
        *(
            Column(title=title, cells=limits(name), align_right=True)
            for title, name in (
                ("requests/min", "requests_per_minute"),
                ("tokens/day", "tokens_per_day"),
                ("at once", "concurrent"),
            )
        ),
    ]
    return "\n".join(table(columns))


@contextmanager
def _only_writer(file: Path) -> Iterator[None]:
    """Keep other commands from writing the file meanwhile. Raises UsageError if its folder can't be made."""
    try:
        make_private_folder(file.parent)
        lock = file.with_name(f".{file.name}.lock").open("w")
    except OSError as error:
        raise UsageError(f"{file.parent} can't be used: {error.strerror or error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parser() -> Parser:
    parser = program_parser("gateway keys", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="add|list|remove")
    add = commands.add_parser("add", help="make a key and show it")
    add.add_argument("name", type=text, metavar="NAME", help="whose key it is")
    limit = whole_number(1, MOST_LIMIT)
    add.add_argument("--requests-per-minute", type=limit, metavar="N", help="refuse more (default: no limit)")
    add.add_argument(
        "--tokens-per-day",
        type=limit,
        metavar="N",
        help="of prompts and answers; a day of UTC (default: no limit)",
    )
    add.add_argument(
        "--concurrent", type=limit, metavar="N", help="requests at the same time (default: no limit)"
    )
    listing = commands.add_parser("list", help="show whose keys there are, and their limits")
    remove = commands.add_parser("remove", help="make a key useless")
    remove.add_argument("name", type=text, metavar="NAME", help="whose key it is")
    for command in (add, listing, remove):
        command.add_argument(
            "--api-keys", type=path, default=default_key_file(), metavar="FILE", help="(default: %(default)s)"
        )
    return parser
