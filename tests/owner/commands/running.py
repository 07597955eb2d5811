"""Running a command of the owner in this process."""

from __future__ import annotations

import argparse
import re
import types
from collections.abc import Iterator
from pathlib import Path

# `#key = value` isn't in use; `#   key = value` is another way to say the next one.
UNUSED = re.compile(r"#([a-z_]+ = .*)")


def arguments(command: types.ModuleType, folder: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words, argparse.Namespace(data_folder=folder))


def unused_lines(text: str) -> Iterator[int]:
    yield from (number for number, line in enumerate(text.splitlines()) if UNUSED.fullmatch(line))


def with_used(text: str, *numbers: int) -> str:
    lines = text.splitlines()
    for number in numbers:
        lines[number] = lines[number].removeprefix("#")
    return "\n".join(lines)
