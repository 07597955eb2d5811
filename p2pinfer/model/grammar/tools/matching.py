"""Matches fixed tokens with free whitespace between them, in a text that may not be complete yet."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from p2pinfer.model.grammar.tools.layout import NAME, Tokens

WHITESPACE = " \t\r\n"
_NAME = re.compile(r"[A-Za-z0-9_-]{0,64}")


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
    at, found_name = 0, ""
    for token in tokens:
        if token.isspace():
            continue
        at = _skip_whitespace(text, at)
        if NAME not in token:
            literals = [token]
        else:
            # A name ends where no character of a name follows: what that is must be there.
            begins = at + token.index(NAME)
            found_name = _NAME.match(text, begins)[0] if begins < len(text) else ""  # type: ignore[index]
            is_open = begins + len(found_name) >= len(text)
            literals = [token.replace(NAME, name) for name in names if is_open or name == found_name]
        ends = [_literal_end(text, at, literal) for literal in literals]
        end = max((end for end in ends if end is not None), default=None)
        if end is None or end < 0:
            return None if end is None else Unfinished()
        at = end
    return Found(at, found_name)


def _skip_whitespace(text: str, at: int) -> int:
    while at < len(text) and text[at] in WHITESPACE:
        at += 1
    return at


def _literal_end(text: str, at: int, literal: str) -> int | None:
    """Where a literal ends; -1 if the text ends before it does; None if something else stands there."""
    if text.startswith(literal, at):
        return at + len(literal)
    return -1 if literal.startswith(text[at:]) else None
