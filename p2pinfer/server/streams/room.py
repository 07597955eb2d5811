"""How much cache a session's rows take, and how much they may. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from p2pinfer.server.compute.budget import PAGE_TOKENS


class Room:
    """Tokens in whole pages. Usually a session may take what its opening says, and nothing is asked; while
    others wait for room, what it didn't use may be taken back, and it asks before it takes more."""

    __slots__ = ("_pages", "_used_pages", "tokens")

    def __init__(self, rows: int, tokens: int) -> None:
        """`tokens` is what all rows together may take."""
        self.tokens = tokens
        self._pages = [0] * rows
        self._used_pages = 0

    @property
    def used_tokens(self) -> int:
        """What the rows take."""
        return self._used_pages * PAGE_TOKENS

    def needed(self, lengths: Iterable[tuple[int, int]]) -> int:
        """What the rows take together when those named have these lengths."""
        pages = self._used_pages
        for row, length in lengths:
            pages += pages_of(length) - self._pages[row]
        return pages * PAGE_TOKENS

    def take(self, row: int, length: int) -> None:
        """A row has this length now, or will have when its step has run."""
        pages = pages_of(length)
        self._used_pages += pages - self._pages[row]
        self._pages[row] = pages


def pages_of(tokens: int) -> int:
    """The pages that so many tokens of one row take."""
    return -(-tokens // PAGE_TOKENS)
