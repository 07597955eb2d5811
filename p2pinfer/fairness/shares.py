"""Who holds how much of one thing that is given back: places, sessions, memory. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.sources import Source

_Name = TypeVar("_Name")


class Lack(Enum):
    """What there is not enough of for a guest."""

    KEY = "its key has as much as it may"
    SOURCE = "its network has as much as it may"
    STRANGERS = "the rest is kept for those who are known"
    ALL = "all is taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How much there is of a thing, and of that for one guest."""

    in_all: int
    per_source: int
    """For the strangers of a source, and once more for those of its guests that are known: who shares a
    carrier's network with a crowd isn't shut out by it."""
    per_key: int
    for_known: int = 0
    """So much of `in_all` is never given to strangers."""


class Shares:
    """What is taken, by key, by source and in all. What a guest takes it gives back as the same guest."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.taken = 0
        self._by_strangers = 0
        self._keys: Counter[bytes] = Counter()
        self._sources: Counter[tuple[Source, bool]] = Counter()

    def of_key(self, key: bytes | None) -> int:
        """What a key has."""
        return 0 if key is None else self._keys[key]

    def of_source(self, source: Source) -> int:
        """What all guests of a source have."""
        return self._sources[source, False] + self._sources[source, True]

    def most_of_a_source(self, guest: Guest) -> int:
        """What those like the guest, known or strangers, have at most of one of its sources."""
        return max((self._sources[source, guest.is_known] for source in guest.sources), default=0)

    def full_sources(self, guest: Guest, amount: int = 1) -> frozenset[Source]:
        """The sources of a guest that can't have so much more."""
        most = self.bound.per_source - amount
        return frozenset(source for source in guest.sources if self._sources[source, guest.is_known] > most)

    def lack(self, guest: Guest, amount: int = 1) -> Lack | None:
        """Return why a guest can't have so much more; None if it can. What is in all comes last: the others
        tell the guest what it can change itself."""
        bound = self.bound
        if guest.key is not None and self._keys[guest.key] + amount > bound.per_key:
            return Lack.KEY
        if self.full_sources(guest, amount):
            return Lack.SOURCE
        for_strangers = bound.in_all - bound.for_known
        if bound.for_known and not guest.is_known and self._by_strangers + amount > for_strangers:
            return Lack.STRANGERS
        if self.taken + amount > bound.in_all:
            return Lack.ALL
        return None

    def would_help(self, holder: Guest, newcomer: Guest, lack: Lack) -> bool:
        """True if a newcomer lacks that no longer when the holder gives something back."""
        match lack:
            case Lack.KEY:
                return holder.key == newcomer.key
            case Lack.SOURCE:
                full = self.full_sources(newcomer)
                return holder.is_known == newcomer.is_known and not full.isdisjoint(holder.sources)
            case Lack.STRANGERS:
                return not holder.is_known
            case Lack.ALL:
                return True

    def take(self, guest: Guest, amount: int = 1) -> None:
        """Count what a guest gets; nothing is checked here."""
        self._add(guest, amount)

    def give_back(self, guest: Guest, amount: int = 1) -> None:
        """Count what a guest has no longer."""
        self._add(guest, -amount)

    def _add(self, guest: Guest, amount: int) -> None:
        self.taken += amount
        if not guest.is_known:
            self._by_strangers += amount
        if guest.key is not None:
            _count(self._keys, guest.key, amount)
        for source in guest.sources:
            _count(self._sources, (source, guest.is_known), amount)


def _count(counter: Counter[_Name], name: _Name, amount: int) -> None:
    counter[name] += amount
    if not counter[name]:
        del counter[name]
