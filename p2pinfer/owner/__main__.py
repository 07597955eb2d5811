"""`python -m p2pinfer.owner COMMAND`: what an owner tells the servers of this machine, and asks them."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

from p2pinfer.command_line.flags import folder
from p2pinfer.command_line.output import printing
from p2pinfer.command_line.program import Parser, program_parser, run
from p2pinfer.folders import user_data_folder
from p2pinfer.owner import commands

_ORDER = ("accept", "revoke", "init", "check", "status", "statement", "export", "redeem")
"""In which --help lists the commands: as an owner needs them."""


class OwnerCommand(Protocol):
    """A module in `commands`."""

    HELP: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit statuses: 0 done, 1 failed or as the command says, 2 a flag or file that can't work."""
    return run("owner", lambda: _main(list(sys.argv[1:] if argv is None else argv)))


def _main(arguments: Sequence[str]) -> int:
    flags = _parser(_only_needed(arguments)).parse_args(arguments)
    with printing():
        return cast("OwnerCommand", flags.command).run(flags)


def _only_needed(arguments: Sequence[str]) -> list[str]:
    """The command that the arguments name; all commands if they name none, for --help."""
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


def _parser(names: Sequence[str]) -> Parser:
    parser = program_parser(
        "owner",
        description="Set when this machine may work, see what its servers do, and what they have earned.",
        epilog="`%(prog)s COMMAND --help` explains a command.",
    )
    _add_data_folder(parser, user_data_folder())
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name in names:
        command = cast("OwnerCommand", importlib.import_module(f"{commands.__name__}.{name}"))
        subparser = subparsers.add_parser(name, help=command.HELP, description=_sentence(command.HELP))
        # The flag may stand behind the command too, and must not undo one that stands before it.
        _add_data_folder(subparser, argparse.SUPPRESS)
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser


def _add_data_folder(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument(
        "--data-folder",
        type=folder,
        default=default,
        metavar="FOLDER",
        help=f"holds the files of this machine's servers (default: {user_data_folder()})",
    )


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


if __name__ == "__main__":
    sys.exit(main())
