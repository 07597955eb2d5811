"""JSON from strangers and from files: bounded in size and depth before anything is made of it.

`json.loads` calls itself for each level, and so does much of what is done with its result: a few kilobytes of
brackets end in a RecursionError somewhere later. Whoever reads JSON that this process has not just written
reads it here.
"""

from __future__ import annotations

import json
import re
from typing import Any

MOST_DEPTH = 64
"""Levels of brackets. JSON schemas nest deepest among what is honestly sent; twenty levels are many."""

MOST_BYTES = 64 << 20

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"[{]}", b"(())")


def read_json(
    text: str | bytes, *, most_bytes: int = MOST_BYTES, most_depth: int = MOST_DEPTH, **options: Any
) -> Any:
    """What a JSON text says. `options` are those of `json.loads`.

    Bytes are UTF-8. Raises ValueError, and nothing else, with words for people: if it is no JSON, too long,
    nested too deep, or has an integer of thousands of digits.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if len(data) > most_bytes:
        raise ValueError(f"it has {len(data):,} bytes, and at most {most_bytes:,} are read")
    if not is_nested_within(data, most_depth):
        raise ValueError(f"it is nested deeper than {most_depth} levels")
    try:
        return json.loads(text if isinstance(text, str) else data.decode("utf-8"), **options)
    except RecursionError as error:  # where the caller has little of the stack left
        raise ValueError("it is nested too deep") from error


def is_nested_within(data: bytes, most_depth: int) -> bool:
    """True if the brackets outside strings are at most so many levels deep. Text that is no JSON may be both.

    Takes time in proportion to the length, also for text that was made to be slow.
    """
    if data.count(b"[") + data.count(b"{") <= most_depth:
        return True
    brackets = _STRING.sub(b"", data).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(most_depth):
        without_innermost = brackets.replace(b"()", b"")
        if len(without_innermost) == len(brackets):
            break
        brackets = without_innermost
    return b"()" not in brackets and not _opens_deeper(brackets, most_depth)


def _opens_deeper(unmatched: bytes, most_depth: int) -> bool:
    """True if more brackets open than may. A reader stops at the first bracket that closes nothing."""
    opened = unmatched.find(b")")
    return (len(unmatched) if opened < 0 else opened) > most_depth
