"""Texts and numbers of strangers, made safe to show: short texts in one line, finite and plausible numbers.

The swarm has checked all of it before. This is the second check, in front of every rendering.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv6Address

from p2pinfer.plain_text import printable

NAME_CHARACTERS = 64
"""The limit for public names in announcements."""

MOST_TOKENS_PER_SECOND = 1e6
LATEST_TIME = 253_402_300_799.0
"""Unix seconds: the last second of the year 9999. Calendars end there."""

_MOST_MARKS = 3  # on one letter: Vietnamese needs two, Hebrew and Thai up to three
_BLANK = dict.fromkeys(map(ord, "\u115f\u1160\u2800\u3164\uffa0"), "?")  # invisible letters
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w])(?::\d{1,5})?")
_PERHAPS_IPV6 = re.compile(
    r"(?<![\w:.])(?:\[(?P<within>[0-9A-Fa-f:.]+)\](?::\d{1,5})?"
    r"|(?P<bare>[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f.]*){2,8})(?![\w:]))"
)


def clean_text(text: str, most: int = NAME_CHARACTERS) -> str:
    """`text` in one line of at most `most` characters. A character that isn't plain becomes `?`.

    A letter keeps at most three accents: a tower of accents would cover the lines above it.
    """
    if len(text) <= most and text.isascii() and text.isprintable():
        return text.strip()
    cleaned: list[str] = []
    marks = _MOST_MARKS  # there is no letter before the first
    for sign in printable(text, most).translate(_BLANK):
        if unicodedata.category(sign) in ("Mn", "Me"):
            marks += 1
            if marks > _MOST_MARKS:
                continue
        else:
            marks = 0
        cleaned.append(sign)
    return "".join(cleaned).strip()


def without_addresses(text: str) -> str:
    """`text` with `[address]` for every IP address with its port. Network errors contain addresses."""
    return _IPV4.sub("[address]", _PERHAPS_IPV6.sub(_hide_ipv6, text))


def clean_number(value: float | None, low: float, high: float) -> float | None:
    """`value` if it is in [low, high], else None. NaN gives None. The bounds are finite."""
    return float(value) if value is not None and low <= value <= high else None


def clean_count(value: int, most: int) -> int:
    """`value`, forced into [0, most]."""
    return max(0, min(value, most))


def _hide_ipv6(match: re.Match[str]) -> str:
    bare = match["within"] or match["bare"].rstrip(".")  # a full stop
    try:
        IPv6Address(bare)
    except AddressValueError:
        return match[0]
    return "[address]"
