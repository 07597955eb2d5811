"""Who gives way when there is too much of a thing: of the source that has most, who came first. Pure.

No number bounds a source here. Alone it may have everything; as soon as others come, what it has beyond them
goes to them. So one address, or sixteen, can't shut out anybody else, and nobody is refused without need.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from p2pinfer.fairness.sources import Source

_Holder = TypeVar("_Holder", bound=Hashable)


@dataclass(slots=True)
class _Part(Generic[_Holder]):
    """What a source has: amounts, and when each holder came; who came first stands first."""

    amount: int = 0
    holders: OrderedDict[_Holder, tuple[int, int]] = field(default_factory=OrderedDict)


class Crowd(Generic[_Holder]):
    """Holders of one thing, by source: connections, listeners, bytes of memory."""

    def __init__(self) -> None:
        self.amount = 0
        """What all of them have."""
        self._parts: dict[Source, _Part[_Holder]] = {}
        self._sources: dict[_Holder, Source] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, holder: _Holder) -> bool:
        return holder in self._sources

    def of_source(self, source: Source) -> int:
        """What all of a source have."""
        part = self._parts.get(source)
        return 0 if part is None else part.amount

    def source_of(self, holder: _Holder) -> Source:
        """Where one that is here comes from."""
        return self._sources[holder]

    def add(self, holder: _Holder, source: Source, amount: int = 1) -> None:
        """One comes, or comes anew."""
        self.remove(holder)
        self._arrivals += 1
        self._sources[holder] = source
        part = self._parts.setdefault(source, _Part())
        part.holders[holder] = (amount, self._arrivals)
        part.amount += amount
        self.amount += amount

    def grow(self, holder: _Holder, amount: int) -> None:
        """One that is here has so much more."""
        part = self._parts[self._sources[holder]]
        before, arrival = part.holders[holder]
        part.holders[holder] = (before + amount, arrival)
        part.amount += amount
        self.amount += amount

    def remove(self, holder: _Holder) -> None:
        """One goes, if it is here."""
        source = self._sources.pop(holder, None)
        if source is None:
            return
        part = self._parts[source]
        amount, _ = part.holders.pop(holder)
        part.amount -= amount
        self.amount -= amount
        if not part.holders:
            del self._parts[source]

    def first_to_go(self) -> _Holder:
        """Of the source with most, the one that came first. Raises LookupError if nobody is here.

        Among sources with as much the one goes that came first of all.
        """
        if not self._parts:
            raise LookupError("nobody is here")
        part = max(self._parts.values(), key=_weight)
        return next(iter(part.holders))


def _weight(part: _Part[_Holder]) -> tuple[int, int]:
    _, arrival = next(iter(part.holders.values()))
    return part.amount, -arrival
