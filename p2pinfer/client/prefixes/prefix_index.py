"""Which texts' beginnings this client has had kept, and the longest of them that a new text begins with.

It can be wrong: servers forget when they need the memory, and other routes never knew. Then a recall costs
one way through the hops, and the text is computed.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.client.prefixes.scope import Scope

SHORTEST = 64
"""A prefix of fewer tokens is computed as fast as it is recalled."""

_MOST_TEXTS = 1024
_MOST_TOKENS = 2_000_000
"""Of all texts together, four bytes each."""

_WIDTH = 4


@dataclass(frozen=True, slots=True)
class Known:
    """A text begins with the first `length` tokens of what was kept."""

    tokens: tuple[int, ...]
    """All that was kept: its name is made of it."""

    length: int


class PrefixIndex:
    """Any thread may use it: sessions share one. What was used least recently is forgotten first."""

    def __init__(self, *, most_texts: int = _MOST_TEXTS, most_tokens: int = _MOST_TOKENS) -> None:
        self._most_texts = most_texts
        self._most_tokens = most_tokens
        self._texts: OrderedDict[tuple[Scope, bytes], None] = OrderedDict()
        self._heads: dict[tuple[Scope, bytes], dict[bytes, None]] = {}  # by scope and first tokens
        self._tokens = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._texts)

    def longest(self, scope: Scope, tokens: Sequence[int]) -> Known | None:
        """What was kept that shares most leading tokens with these, if at least SHORTEST."""
        if len(tokens) < SHORTEST:
            return None
        wanted = _packed(tokens)
        with self._lock:
            found, most = b"", 0
            for text in self._heads.get((scope, _head(wanted)), ()):
                # Conversations begin alike by the hundred: most of them need one comparison.
                if text[: most * _WIDTH] == wanted[: most * _WIDTH]:
                    found, most = text, _shared(text, wanted, most)  # of equal ones the newest
            if not most:
                return None
            self._texts.move_to_end((scope, found))
        return Known(tuple(array("I", found)), most)

    def add(self, scope: Scope, tokens: Sequence[int]) -> None:
        """These tokens were kept. What they begin with needs no entry of its own any more."""
        if len(tokens) < SHORTEST:
            return
        text = _packed(tokens)
        with self._lock:
            for other in list(self._heads.get((scope, _head(text)), ())):
                if text.startswith(other):
                    self._forget(scope, other)
            self._texts[(scope, text)] = None
            self._heads.setdefault((scope, _head(text)), {})[text] = None
            self._tokens += len(tokens)
            while len(self._texts) > self._most_texts or (
                self._tokens > self._most_tokens and len(self._texts) > 1
            ):
                self._forget(*next(iter(self._texts)))

    def _forget(self, scope: Scope, text: bytes) -> None:
        del self._texts[(scope, text)]
        head = (scope, _head(text))
        del self._heads[head][text]
        if not self._heads[head]:
            del self._heads[head]
        self._tokens -= len(text) // _WIDTH


def _packed(tokens: Sequence[int]) -> bytes:
    return array("I", tokens).tobytes()


def _head(text: bytes) -> bytes:
    return text[: SHORTEST * _WIDTH]


def _shared(one: bytes, other: bytes, same: int) -> int:
    """How many leading tokens are the same, `same` at least: by halves, each a comparison of memory."""
    end = min(len(one), len(other)) // _WIDTH
    following = slice(same * _WIDTH, (same + 1) * _WIDTH)
    if one[following] != other[following]:
        return same
    while same < end:
        middle = (same + end + 1) // 2
        piece = slice(same * _WIDTH, middle * _WIDTH)
        if one[piece] == other[piece]:
            same = middle
        else:
            end = middle - 1
    return same
