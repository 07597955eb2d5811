"""Which outputs that nobody takes are dropped, so that those of all sessions take bounded memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Generic, TypeVar

_Name = TypeVar("_Name")


class UnsentOutputs(Generic[_Name]):
    """The outputs that have waited for their readers since the last look."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._before: dict[_Name, int] = {}

    def look(self, unsent: Mapping[_Name, int]) -> list[_Name]:
        """Return whose outputs are to be dropped, given how many bytes each one holds unsent.

        Those go first that have moved least since the last look, and of equals the largest.
        """
        before, self._before = self._before, dict(unsent)
        excess = sum(unsent.values()) - self._most_bytes
        if excess <= 0:
            return []
        moved = {
            name: max(0, before[name] - left) if name in before else inf for name, left in unsent.items()
        }
        dropped = []
        for name in sorted(unsent, key=lambda name: (moved[name], -unsent[name])):
            if excess <= 0:
                break
            excess -= unsent[name]
            dropped.append(name)
        return dropped
