"""What one session has to have kept, and what it has had kept already. Pure; for the session's thread."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.client.prefixes.prefix_index import SHORTEST, PrefixIndex
from p2pinfer.client.prefixes.scope import Scope

_MOST_REMEMBERED = 4096
_MOST_WAITING = 64
"""More than that is not kept: rows end faster than steps go through the hops."""


@dataclass(frozen=True, slots=True)
class ToKeep:
    """The first tokens of a row, as they are when the next steps reach the hops."""

    row: int
    tokens: tuple[int, ...]
    scope: Scope


class Keeping:
    """Decides what is worth a KEEP step: nothing short, and nothing twice."""

    def __init__(self, index: PrefixIndex) -> None:
        self._index = index
        self._waiting: deque[ToKeep] = deque()
        self._had: OrderedDict[tuple[Scope, int, int], None] = OrderedDict()
        self._under_way = 0

    @property
    def has_work(self) -> bool:
        """True if KEEP steps wait, or have no answer yet."""
        return bool(self._waiting) or self._under_way > 0

    def keep(self, row: int, tokens: Sequence[int], scope: Scope, *, is_new: bool = True) -> None:
        """Have these tokens of a row kept.

        With `is_new` only if what was kept before doesn't have nearly all of them.
        """
        if len(tokens) < SHORTEST or len(self._waiting) >= _MOST_WAITING:
            return
        if is_new:
            known = self._index.longest(scope, tokens)
            if known is not None and known.length > len(tokens) - SHORTEST:
                return
        kept = tuple(tokens)
        if _mark(scope, kept) in self._had:
            return
        self._remember(scope, kept)
        self._waiting.append(ToKeep(row, kept, scope))

    def next(self) -> ToKeep | None:
        """What the next KEEP step keeps. It has to be sent before any other step."""
        return self._waiting.popleft() if self._waiting else None

    def sent(self) -> None:
        """A KEEP step was sent."""
        self._under_way += 1

    def answered(self, kept: ToKeep, *, lacking: int | None) -> None:
        """A KEEP step was answered; `lacking` is the first hop that had no room."""
        self._under_way = max(0, self._under_way - 1)
        if lacking != 0:  # hops behind it are fed by those before
            self._index.add(kept.scope, kept.tokens)

    def found(self, scope: Scope, tokens: Sequence[int]) -> None:
        """Every hop has this: it needs no KEEP step."""
        self._index.add(scope, tokens)
        self._remember(scope, tuple(tokens))

    def lost(self, scope: Scope, tokens: Sequence[int]) -> None:
        """Some hop doesn't have this any more: it is worth another KEEP step."""
        kept = tuple(tokens)
        self._had.pop(_mark(scope, kept), None)

    def forget(self) -> None:
        """Rows are no longer what they were, and no step is under way."""
        for kept in self._waiting:
            self.lost(kept.scope, kept.tokens)
        self._waiting.clear()
        self._under_way = 0

    def _remember(self, scope: Scope, kept: tuple[int, ...]) -> None:
        self._had[_mark(scope, kept)] = None
        if len(self._had) > _MOST_REMEMBERED:
            self._had.popitem(last=False)


def _mark(scope: Scope, kept: tuple[int, ...]) -> tuple[Scope, int, int]:
    return scope, len(kept), hash(kept)
