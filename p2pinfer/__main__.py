"""`python -m p2pinfer`: the programs of the package, and a way to start each of them."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from p2pinfer.command_line.output import show
from p2pinfer.command_line.program import Parser, program_parser, run, script_name

PROGRAMS = {
    "server": "serve some layers of a model to a swarm",
    "swarm": "run a bootstrap peer: no layers, only the door through which others enter a swarm",
    "owner": "set the rules of this machine, see what it does and what it has earned",
    "gateway": "give programs that know OpenAI's API, and people with a browser, the models of a swarm",
    "documents": "answer documents by the thousand, and go on where it was stopped",
    "health": "show how a swarm is, as a web page or as a report on the terminal",
    "convert": "convert a model into INT8 layers once, to copy them to other machines",
    "stores": "show the models in the cache folder, and make room",
    "local-swarm": "try it: a swarm on this machine alone answers one question",
}
"""Every program with one line about it. `-` in a name is `_` in its module."""

_OF_ONE_FILE = ("convert", "stores")


def main(argv: Sequence[str] | None = None) -> int:
    """List the programs, or run the one that is named. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0].replace("_", "-") if arguments else ""
    if name in PROGRAMS:
        return start(name, arguments[1:])
    return run("p2pinfer", lambda: _list(arguments))


def start(name: str, arguments: Sequence[str]) -> int:
    """Run a program in this process. Returns the exit status."""
    module = importlib.import_module(f"p2pinfer.{module_name(name)}")
    status: int = module.main(arguments)
    return status


def module_name(name: str) -> str:
    """Where a program's `main` is, in the package."""
    module = name.replace("-", "_")
    return module if name in _OF_ONE_FILE else f"{module}.__main__"


def _list(arguments: Sequence[str]) -> int:
    parser = _parser()
    parser.parse_args(arguments)
    show(parser.format_help().removesuffix("\n"))
    return 0


def _parser() -> Parser:
    width = max(map(len, PROGRAMS))
    lines = "\n".join(f"  {name:<{width}}  {purpose}" for name, purpose in PROGRAMS.items())
    parser = program_parser(
        "",
        prog="p2pinfer" if sys.argv[0].endswith("/p2pinfer") else "python -m p2pinfer",
        usage="%(prog)s PROGRAM [its flags]",
        description="Language models served by a chain of INT8 peers. PROGRAM is one of\n\n"
        f"{lines}\n\n"
        "`%(prog)s PROGRAM --help` explains one. Each also has a name of its own: "
        f"`python -m p2pinfer.server` or `{script_name('server')}`.",
    )
    parser.add_argument("program", nargs="?", choices=PROGRAMS, metavar="PROGRAM", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
