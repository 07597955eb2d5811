"""In which order those get something who wait for it, when it comes back more slowly than they take it. Pure.

Without an order, whoever takes little at a time takes it as it comes, and a large wish never finds enough. So
what those need who come before is left for them. First comes the network that was served least, of equals the
one that needs least; within a network, who has waited longest (start-time fair queueing, as in the scheduler
of batches).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

_Name = TypeVar("_Name", bound=Hashable)

_MOST_REMEMBERED = 4096


class Line(Generic[_Name]):
    """Who waits for one thing, first come, first served; by any name, and for how much."""

    def __init__(self) -> None:
        self._waiting: dict[_Name, float] = {}  # who has waited longest first

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def wait(self, name: _Name, amount: float) -> float:
        """One waits for so much, now or still. Returns what all those need together who came before it."""
        self._waiting[name] = amount
        before = 0.0
        for other, needed in self._waiting.items():
            if other == name:
                break
            before += needed
        return before

    def leave(self, name: _Name) -> None:
        """One waits no longer; harmless if it didn't."""
        self._waiting.pop(name, None)


class Turns(Generic[_Name]):
    """Who waits, by any name, of which network, and for how much."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, dict[_Name, tuple[int, float]]] = {}
        """Of each network, who has waited longest first: a number that grows with time, and the amount."""
        self._networks: dict[_Name, Hashable] = {}
        self._served: OrderedDict[Hashable, float] = OrderedDict()  # who was served last stands last
        self._now = 0.0  # what the network had had that was served last, before it was
        self._numbers = count()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._networks)

    def wait(self, name: _Name, network: Hashable, amount: float) -> float:
        """One waits for so much, now or still. Returns what all those need together who come before it."""
        if self._networks.get(name, network) != network:
            self.leave(name)
        self._networks[name] = network
        waiting = self._waiting.setdefault(network, {})
        number, _ = waiting.get(name, (next(self._numbers), 0.0))
        waiting[name] = number, amount
        own = 0.0
        for other, (_, needed) in waiting.items():
            if other == name:
                break
            own += needed
        mine = self._start_of(network) + own, amount, number
        return own + sum(self._before(mine, other) for other in self._waiting if other != network)

    def leave(self, name: _Name) -> None:
        """One waits no longer; harmless if it didn't."""
        network = self._networks.pop(name, None)
        if network is None:
            return
        waiting = self._waiting[network]
        del waiting[name]
        if not waiting:
            del self._waiting[network]

    def served(self, network: Hashable, amount: float) -> None:
        """A network got so much; a negative amount: it has given it back."""
        start = self._start_of(network)
        if amount > 0:
            self._now = start
        self._served[network] = start + amount
        self._served.move_to_end(network)
        if len(self._served) > _MOST_REMEMBERED:
            self._served.popitem(last=False)

    def _start_of(self, network: Hashable) -> float:
        """What a network has had. After a pause it is as if it had kept up: idling earns nothing."""
        return max(self._served.get(network, 0.0), self._now)

    def _before(self, mine: tuple[float, float, int], network: Hashable) -> float:
        """What those of a network need who come before one that begins there."""
        start, needed = self._start_of(network), 0.0
        for number, amount in self._waiting[network].values():
            if (start + needed, amount, number) >= mine:
                break
            needed += amount
        return needed
