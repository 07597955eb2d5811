"""What the values of flags may be: types for argparse, whose errors say what is expected."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from p2pinfer.types import Span

_HIGHEST_PORT = 65_535
_MOST_DIGITS = 18
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-][A-Za-z0-9._-]*):(?P<port>[0-9]+)")


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
    return number("seconds", least, most)


def gigabytes(text: str) -> float:
    """Gigabytes, at least a tenth."""
    return number("gigabytes", 0.1, 1e6)(text)


def number(unit: str, least: float, most: float) -> Callable[[str], float]:
    """A number of `unit` from `least` to `most`, with a fraction if need be."""

    def parse(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{unit} from {least:g} to {most:g} are expected, not {text!r}")
        return found

    return parse


def port(text: str) -> int:
    """A TCP port; 0 stands for any free one."""
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"a port from 0 to {_HIGHEST_PORT} is expected, not {text!r}")
    return int(text)


def host_port(text: str) -> str:
    """HOST:PORT of another machine, as it was written; an IPv6 host stands in brackets. Port 0 is no port."""
    return _host_port(text, least_port=1)


def listen_address(text: str) -> str | None:
    """IP:PORT to listen on, or None for the word `none`. The name of a host becomes its first IPv4 address.

    Port 0 stands for any free one.
    """
    if text == "none":
        return None
    host, _, digits = _host_port(text, least_port=0).rpartition(":")
    address = _address_of(host.strip("[]"))
    return f"[{address}]:{digits}" if ":" in address else f"{address}:{digits}"


def text(written: str) -> str:
    """A text in UTF-8, also where the locale (LANG=C) makes something else of it."""
    try:
        return os.fsencode(written).decode()
    except UnicodeError:
        return written


def shown_text(most: int) -> Callable[[str], str]:
    """A text that others see: printable, with at most `most` characters."""

    def parse(written: str) -> str:
        shown = text(written)
        if len(shown) > most or not shown.isprintable():
            raise argparse.ArgumentTypeError(f"at most {most} printable characters are expected")
        return shown

    return parse


def _host_port(text: str, least_port: int) -> str:
    if re.fullmatch(r"[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9]+", text):
        raise argparse.ArgumentTypeError(
            f"an IPv6 address stands in brackets, like [::1]:31330, not {text!r}"
        )
    found = _HOST_PORT.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"HOST:PORT is expected, like 192.0.2.7:31330, not {text!r}")
    if len(found["port"]) > _MOST_DIGITS or not least_port <= int(found["port"]) <= _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(
            f"HOST:PORT with a port from {least_port} to {_HIGHEST_PORT} is expected, not {text!r}"
        )
    return text


def _address_of(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is too long
        raise argparse.ArgumentTypeError(
            f"{host!r} isn't an address of this machine, nor a name that it knows: "
            "127.0.0.1:0 listens for this machine only, 0.0.0.0:0 for all"
        ) from error
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])


def span(text: str) -> Span:
    """Layers, written START:END."""
    try:
        return Span.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def folder(text: str) -> Path:
    """A folder that may not exist yet."""
    found = path(text)
    if found.exists() and not found.is_dir():
        raise argparse.ArgumentTypeError(f"a folder is expected, and {text!r} is a file")
    return found


def path(text: str) -> Path:
    """A file or folder that may not exist yet; `~` is the user's home, also behind `=`."""
    return Path(text).expanduser()
