"""What was checked lately, so that nobody checks it again. Several threads may ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Memory(Generic[_T]):
    """The last things that were asked for, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[_T, None] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, thing: _T) -> bool:
        with self._lock:
            if thing not in self._things:
                return False
            self._things.move_to_end(thing)
            return True

    def add(self, thing: _T) -> None:
        """Remember a thing; the one that nobody asked for longest may be forgotten."""
        with self._lock:
            self._things[thing] = None
            self._things.move_to_end(thing)
            if len(self._things) > self._most:
                self._things.popitem(last=False)
