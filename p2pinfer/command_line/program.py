"""How a program begins and ends: its parser, its errors as one line, its exit status.

Exit statuses: 0 done; 1 it could not be done; 2 the user gave something that can't work, or a library is
missing; 130 interrupted; 141 the reader of its output has gone.
"""

from __future__ import annotations

import argparse
import atexit
import difflib
import os
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from p2pinfer import __version__
from p2pinfer.command_line.extras import MissingLibrariesError, missing_library
from p2pinfer.command_line.output import (
    ReaderGoneError,
    complain,
    end_quietly,
    open_closed_streams,
    replace_unprintable,
    show,
)
from p2pinfer.command_line.peers import without_doubled_flag
from p2pinfer.errors import P2PInferError, UsageError

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
READER_GONE = 141  # 128 + SIGPIPE, likewise


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, whose errors are one line and a hint."""

    def __init__(self, **settings: Any) -> None:
        defaults: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Paragraphs}
        super().__init__(**(defaults | settings))
        self._arguments: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]  # typeshed has overloads for the namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Forgive `--initial-peers --initial-peers`, then parse as usual."""
        self._arguments = without_doubled_flag(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._arguments, namespace)

    def error(self, message: str) -> Any:
        """Print what is wrong and end the program with status 2. A flag that doesn't exist goes first."""
        kind, _, rest = message.partition(": ")
        suspects = {
            "the following arguments are required": self._arguments,
            "unrecognized arguments": rest.split(),
        }
        unknown = list(unknown_flags(suspects.get(kind, ()), self._option_string_actions))
        if unknown:
            message = f"unrecognized arguments: {', '.join(unknown)}"
        self.exit(WRONG_USAGE, f"{_dotted(self.prog)}: {message}\nTry: {self.prog} --help\n")

    def _print_message(self, message: str, file: object = None) -> None:
        """Where argparse prints help, version and errors. Its own way raises in a locale without `…`."""
        if message:
            (complain if file is sys.stderr else show)(message.removesuffix("\n"))


def unknown_flags(arguments: Sequence[str], known: Collection[str]) -> Iterator[str]:
    """The words among `arguments` that look like flags and aren't, with the flag that may be meant.

    >>> list(unknown_flags(["m", "--layer=0:2", "-5"], ["--layers", "--listen"]))
    ['--layer (did you mean --layers?)']
    """
    for argument in arguments:
        if argument == "--":
            return
        flag = argument.partition("=")[0]
        if re.fullmatch(r"-+[A-Za-z][\w-]*", flag) and flag not in known:
            meant = difflib.get_close_matches(f"--{flag.lstrip('-')}", known, n=1, cutoff=0.7)
            yield f"{flag} (did you mean {meant[0]}?)" if meant else flag


def program_parser(name: str, *, description: str, **settings: Any) -> Parser:
    """The parser of the program `p2pinfer.NAME`, with --version. `settings` are argparse's."""
    parser = Parser(prog=settings.pop("prog", None) or spoken_name(name), description=description, **settings)
    parser.add_argument("--version", action="version", version=f"p2pinfer {__version__}")
    return parser


def spoken_name(name: str) -> str:
    """What the user types to start the program: `python -m p2pinfer.server`, or its console script."""
    started_as = os.path.basename(sys.argv[0]) if sys.argv else ""
    if started_as == "p2pinfer":
        return f"p2pinfer {name}"
    script = script_name(name)
    return script if started_as == script else f"python -m p2pinfer.{name}"


def script_name(name: str) -> str:
    """The console script of a program: `p2pinfer-local-swarm` of `local_swarm`."""
    return f"p2pinfer-{name.replace('_', '-')}"


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parsed flags as keyword arguments for a frozen dataclass: lists become tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in vars(arguments).items()
    }


def run(name: str, work: Callable[[], int], *, usage_status: int = WRONG_USAGE) -> int:
    """Do the program's work and return the exit status. What the user can mend becomes one line.

    `work` returns the status if it gets that far; `usage_status` is that of a UsageError. Output that is
    lost while Python ends changes no status and prints nothing.
    """
    open_closed_streams()
    replace_unprintable()
    atexit.register(end_quietly)
    program = name if name == "p2pinfer" else f"p2pinfer.{name}"
    try:
        return work()
    except MissingLibrariesError as error:
        complain(f"{program} {error}")
        return WRONG_USAGE
    except ReaderGoneError:
        return READER_GONE
    except P2PInferError as error:
        complain(f"{program}: {error}")
        return usage_status if isinstance(error, UsageError) else FAILED
    except ModuleNotFoundError as error:
        missing = missing_library(error.name or "")
        if missing is None:
            raise
        complain(f"{program} {missing}")
        return WRONG_USAGE
    except KeyboardInterrupt:
        complain(f"{program}: stopped")
        return INTERRUPTED


class _Paragraphs(argparse.HelpFormatter):
    """Wraps paragraphs to the terminal's width; a block with an indented line stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(_filled(block, width, indent) for block in text.strip("\n").split("\n\n"))


def _filled(block: str, width: int, indent: str) -> str:
    if "\n  " in f"\n{block}":
        return textwrap.indent(block, indent)
    return textwrap.fill(block, width, initial_indent=indent, subsequent_indent=indent)


def _dotted(prog: str) -> str:
    """`p2pinfer.owner` of `python -m p2pinfer.owner statement`, as the other errors of the program begin."""
    words = prog.split()
    return words[2] if words[:2] == ["python", "-m"] else prog
