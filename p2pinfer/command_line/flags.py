"""What the values of flags may be: types for argparse, whose errors say what is expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from p2pinfer.types import Span

_HIGHEST_PORT = 65_535
_MOST_DIGITS = 18


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number from `least`, which isn't negative, to `most`, if there is a `most`."""
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"a whole number {wanted} is expected, not {text!r}")
        return number

    return parse


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Seconds from `least` to `most`, with a fraction if need be."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"seconds from {least:g} to {most:g} are expected, not {text!r}")
        return number

    return parse


def port(text: str) -> int:
    """A TCP port; 0 stands for any free one."""
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"a port from 0 to {_HIGHEST_PORT} is expected, not {text!r}")
    return int(text)


def host_port(text: str) -> str:
    """HOST:PORT, as it was written; an IPv6 host stands in brackets."""
    host, _, digits = text.rpartition(":")
    if not host or not digits.isdecimal() or len(digits) > _MOST_DIGITS or int(digits) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"HOST:PORT is expected, like 192.0.2.7:31330, not {text!r}")
    return text


def listen_address(text: str) -> str | None:
    """HOST:PORT to listen on, or None for the word `none`."""
    return None if text == "none" else host_port(text)


def span(text: str) -> Span:
    """Layers, written START:END."""
    try:
        return Span.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def path(text: str) -> Path:
    """A file or folder that may not exist yet; `~` is the user's home, also behind `=`."""
    return Path(text).expanduser()
