"""Command lines in documents: finding them, and parsing them as the programs do."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import shlex
from collections.abc import Iterator

from p2pinfer.owner import commands
from p2pinfer.server.config import ServerConfig

PROGRAMS = ("p2pinfer.server", "p2pinfer.owner")


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """A program of ours and its arguments, for every command line in `text` that runs one."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for index, word in enumerate(words):
            if word in PROGRAMS:
                yield word, words[index + 1 :]
                break


def owner_parser() -> argparse.ArgumentParser:
    """As `python -m p2pinfer.owner` has it."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--data-folder")
    subparsers = parser.add_subparsers(required=True)
    for module in pkgutil.iter_modules(commands.__path__):
        command = importlib.import_module(f"{commands.__name__}.{module.name}")
        command.add_arguments(subparsers.add_parser(module.name, allow_abbrev=False))
    return parser


def parse(program: str, arguments: list[str]) -> None:
    """Exits if the program doesn't take these arguments."""
    if program == "p2pinfer.server":
        ServerConfig.from_args(arguments)
    else:
        owner_parser().parse_args(arguments)
