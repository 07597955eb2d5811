"""Cuts a long text into pieces of so many tokens at most, at its borders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable

_FULL_ENOUGH = 0.9
"""A piece with this share of the tokens isn't made larger: each try costs as much as reading it."""
_CHARACTERS_PER_TOKEN = 3
"""To begin with; the text itself tells then."""
_BORDER_SHARE = 0.3
"""Borders in this last part of a piece are near enough."""
_MOST_MARKS = 64
"""More marks on one character are no writing."""

_BORDERS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n[ \t\r]*\n\s*",  # a paragraph
        r"\n\s*",  # a line
        r"[.!?…][\"'”’»)\]]*\s+|[。！？]",  # a sentence
        r"\s+",  # a word
    )
)
_JOINER = "\u200d"


async def cut(
    text: str, *, tokens_with: Callable[[str], Awaitable[int]], most_tokens: int
) -> AsyncIterator[str]:
    """The pieces of a text, which together are the text. None is empty.

    `tokens_with` counts the tokens of a whole prompt with a piece in it: no piece makes more than
    `most_tokens`. A piece ends with a paragraph, a line, a sentence or a word where one ends near, and never
    within a character. Raises ValueError if not even one character fits.
    """
    at, size = 0, _CHARACTERS_PER_TOKEN * most_tokens
    while at < len(text):
        end = await _farthest(text, at, size, tokens_with, most_tokens)
        if end < len(text):
            near = border(text, at, end)
            # Fewer characters have fewer tokens, but for a few that the cut makes.
            if near < end and await tokens_with(text[at:near]) <= most_tokens:
                end = near
        yield text[at:end]
        at, size = end, max(1, end - at)


def border(text: str, start: int, end: int) -> int:
    """The best place, from `start` + 1 to `end`, to cut the piece that begins at `start`."""
    near = max(start + 1, end - int((end - start) * _BORDER_SHARE))
    for pattern in _BORDERS:
        ends = [found.end() for found in pattern.finditer(text, near - 1, end)]
        if places := [place for place in ends if place >= near and not _is_within_character(text, place)]:
            return places[-1]
    for place in range(end, max(start, end - _MOST_MARKS), -1):
        if not _is_within_character(text, place):
            return place
    return end


async def _farthest(
    text: str, start: int, size: int, tokens_with: Callable[[str], Awaitable[int]], most_tokens: int
) -> int:
    """An end, far from `start`, up to which the text fits."""
    fits, too_far = start, len(text) + 1
    end = min(start + size, len(text))
    while True:
        tokens = await tokens_with(text[start:end])
        if tokens <= most_tokens:
            fits = end
            if end == len(text) or tokens >= _FULL_ENOUGH * most_tokens:
                return end
        else:
            too_far = end
        if too_far - fits <= max(1, (too_far - start) // 16):
            if fits > start:
                return fits
            if too_far - start <= 1:
                raise ValueError("not even one character fits")
        guess = start + int((end - start) * most_tokens / max(tokens, 1) * 0.97)
        # Where the guess leads nowhere, the middle does.
        end = guess if fits < guess < too_far else (fits + too_far) // 2
        end = min(max(end, fits + 1), too_far - 1, len(text))


def _is_within_character(text: str, place: int) -> bool:
    """True if what a reader sees as one character begins before `place` and ends behind it."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return (
        unicodedata.category(after) in ("Mn", "Mc", "Me")  # accents, and signs that choose a picture
        or _JOINER in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # the colour of a hand
        or (before == "\r" and after == "\n")
    )
