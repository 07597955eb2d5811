"""Matches fixed tokens with free whitespace between them, in a text that may not be complete yet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from p2pinfer.model.grammar.tools.layout import NAME, Tokens

WHITESPACE = " \t\r\n"
_NAME = re.compile(r"[A-Za-z0-9_-]*")
_MOST_SIGNS = 65
"""A sign more than the longest name has."""
_OPEN = -1


@dataclass(frozen=True, slots=True)
class Found:
    """The tokens stand at the beginning of the text."""

    end: int
    """Where they end in the text."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The text ends before it is certain."""


def match_any(text: str, ways: Iterable[Tokens], names: Collection[str]) -> Found | Unfinished | None:
    """The first of several ways that fits; None if none can any more, whatever follows."""
    results = [match(text, tokens, names) for tokens in ways]
    found = next((result for result in results if isinstance(result, Found)), None)
    return found or next((result for result in results if result is not None), None)


def match(text: str, tokens: Tokens, names: Collection[str] = ()) -> Found | Unfinished | None:
    """Match tokens at the beginning of a text. Whitespace tokens are skipped, and whitespace in the text."""
    at, name = 0, ""
    for token in tokens:
        if token.isspace():
            continue
        at = _skip_whitespace(text, at)
        for part in filter(None, re.split(f"({NAME})", token)):
            end = _name_end(text, at, names) if part == NAME else _literal_end(text, at, part)
            if end is None:
                return None
            if end == _OPEN:
                return Unfinished()
            name = text[at:end] if part == NAME else name
            at = end
    return Found(at, name)


def _skip_whitespace(text: str, at: int) -> int:
    while at < len(text) and text[at] in WHITESPACE:
        at += 1
    return at


def _name_end(text: str, at: int, names: Collection[str]) -> int | None:
    """Where one of the names ends, with a sign behind it that belongs to no name; otherwise as below."""
    name = _NAME.match(text[at : at + _MOST_SIGNS])[0]  # type: ignore[index]  # it also matches nothing
    if at + len(name) == len(text):
        return _OPEN if any(known.startswith(name) for known in names) else None
    return at + len(name) if name in names else None


def _literal_end(text: str, at: int, literal: str) -> int | None:
    """Where a literal ends; _OPEN if the text ends before it does; None if something else stands there."""
    if text.startswith(literal, at):
        return at + len(literal)
    return _OPEN if literal.startswith(text[at:]) else None
