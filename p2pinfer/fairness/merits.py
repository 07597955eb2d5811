"""Who has merit: whoever has signed for work here. Pure.

A signature costs little, but only what was computed can be signed for, and strangers get little of that at a
time (see the bounds of unsigned work): so merit grows with the time and the work of its owner.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.sources import Source

KNOWN_TOKENS = 512
"""A key that has signed for so many tokens is known."""

_MOST_KNOWN, _MOST_NEW, _MOST_SOURCES = 65_536, 8_192, 16_384


class Merits:
    """What each key has signed for, in tokens, and where the known ones came from lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, int] = OrderedDict()  # who signed last stands last
        self._new: OrderedDict[bytes, int] = OrderedDict()  # apart, so that no crowd displaces the known
        self._sources: OrderedDict[Source, None] = OrderedDict()

    def load(self, signed: Iterable[tuple[bytes, int]]) -> None:
        """Begin with what each key has signed for before, in tokens; those who signed last at the end."""
        for key, tokens in signed:
            self._note(key, tokens)

    def signed(self, guest: Guest, tokens: int) -> None:
        """A guest has signed for so many tokens more."""
        if guest.key is None:
            return
        self._note(guest.key, tokens)
        if self.is_known(guest.key):
            for source in guest.sources:
                self._sources[source] = None
                self._sources.move_to_end(source)
            while len(self._sources) > _MOST_SOURCES:
                self._sources.popitem(last=False)

    def of(self, key: bytes) -> int:
        """Tokens that a key has signed for."""
        return self._known.get(key) or self._new.get(key, 0)

    def is_known(self, key: bytes) -> bool:
        """True if a key has merit."""
        return key in self._known

    def knows_source(self, source: Source) -> bool:
        """True if a known key came from there lately. For what has not said its key yet."""
        return source in self._sources

    def guest(self, key: bytes | None, sources: tuple[Source, ...]) -> Guest:
        """Who that is. Without a key, one whose first source is known counts as known.

        The first is the narrowest: who comes through the relay of somebody known isn't known by that.
        """
        known = any(map(self.knows_source, sources[:1])) if key is None else self.is_known(key)
        return Guest(key=key, sources=sources, is_known=known)

    def _note(self, key: bytes, tokens: int) -> None:
        total = self.of(key) + tokens
        self._new.pop(key, None)
        keys, most = (self._known, _MOST_KNOWN) if total >= KNOWN_TOKENS else (self._new, _MOST_NEW)
        keys[key] = total
        keys.move_to_end(key)
        if len(keys) > most:
            keys.popitem(last=False)
