"""`python -m p2pinfer.owner COMMAND`: what an owner says to the servers of this machine, and asks of them."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

from p2pinfer.errors import P2PInferError, UsageError
from p2pinfer.folders import user_data_folder
from p2pinfer.owner import commands

_PROGRAM = "python -m p2pinfer.owner"
_ORDER = (
    "accept",
    "revoke",
    "init",
    "check",
    "status",
    "statement",
    "export",
    "redeem",
)  # as they are needed
_BROKEN_PIPE_STATUS = 141  # what a shell reports of a program that SIGPIPE has ended
_INTERRUPTED_STATUS = 130


class Command(Protocol):
    """A module in `commands`."""

    HELP: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 it couldn't be, or what the command says; 2 a flag or file that can't be."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(_only_needed(arguments)).parse_args(arguments)
        status = cast("Command", args.command).run(args)
        sys.stdout.flush()
    except P2PInferError as error:
        print(f"p2pinfer.owner: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when Python ends
        return _BROKEN_PIPE_STATUS
    except KeyboardInterrupt:
        print("p2pinfer.owner: stopped", file=sys.stderr)
        return _INTERRUPTED_STATUS
    return status


def _only_needed(arguments: Sequence[str]) -> list[str]:
    """The command that is named; all of them if none is, to be listed."""
    names = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    before = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    before.add_argument("--data-folder")
    try:
        _, rest = before.parse_known_args(arguments)
    except argparse.ArgumentError:  # the real parser will say what it is
        rest = []
    if rest and rest[0] in names:
        return [rest[0]]
    return sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="When this machine may work, what it has done, and what it has earned.",
        allow_abbrev=False,
    )
    _add_data_folder(parser, user_data_folder())
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name in names:
        command = cast("Command", importlib.import_module(f"{commands.__name__}.{name}"))
        subparser = subparsers.add_parser(
            name, help=command.HELP, description=command.HELP, allow_abbrev=False
        )
        # Here it may stand too, and must not undo what stood before the command.
        _add_data_folder(subparser, argparse.SUPPRESS)
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser


def _add_data_folder(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument(
        "--data-folder",
        type=lambda text: Path(text).expanduser(),
        default=default,
        metavar="FOLDER",
        help=f"where this machine's files are (default: {user_data_folder()})",
    )


if __name__ == "__main__":
    sys.exit(main())
