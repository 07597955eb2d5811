"""Types of the benchmarks' flags, for argparse."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def some_of(names: Collection[str]) -> Callable[[str], frozenset[str]]:
    """Return an argparse type: names with commas between them."""

    def chosen(text: str) -> frozenset[str]:
        asked = text.split(",")
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(names)}")
        return frozenset(asked)

    return chosen


def at_least(least: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number of at least `least`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a whole number of at least {least} is expected, not {text!r}")
        return int(text)

    return number
