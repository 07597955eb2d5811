"""What the servers of one model see of each other: the records, as arrays that change entry by entry.

Real servers add up all records whenever they look. Ten thousand of them on one core can't: here an entry's
share is added when it changes, and everything is added up anew every half minute, because the expected stay
goes down with time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from p2pinfer.server.placement.choice import Numbers, Rates
from p2pinfer.server.placement.moving import Holders, Intention
from p2pinfer.server.placement.settling import Claim
from p2pinfer.server.placement.view import MOVE_SECONDS
from p2pinfer.types import Span

Floats: TypeAlias = NDArray[np.float64]
Weigh: TypeAlias = Callable[[Floats, Numbers, Floats], Floats]
"""From layer-tokens per second, numbers of layers, and seconds until the servers leave: what each counts at
each of its layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one server says of itself."""

    layers: Span  # those that it holds, loads, or is going to
    layer_rate: float | None  # layer-tokens per second; None: not measured yet
    leaves_at: float | None
    serves: bool = False  # these layers, and hasn't decided to leave them
    is_awaited: bool = True  # False: it drains, and is gone then
    claim: Claim | None = None  # while it may still choose others
    intention: Intention | None = None


class Board:
    """The entries of one model's servers. A slot is a server's number within its model."""

    def __init__(self, num_layers: int, slots: int, weigh: Weigh) -> None:
        self.num_layers = num_layers
        self.rates: Rates = np.zeros(num_layers)
        self._served: Numbers = np.zeros(num_layers, dtype=np.int64)
        self._awaited: Numbers = np.zeros(num_layers, dtype=np.int64)
        self.servers = 0  # listed
        self.version = 0
        """Changes with everything that others can see."""
        self.typical_rate = 1000.0  # until one is measured
        self.claims: dict[int, Claim] = {}
        self.intentions: dict[int, Intention] = {}
        self.starts: Numbers = np.zeros(slots, dtype=np.int64)
        self.ends: Numbers = np.zeros(slots, dtype=np.int64)  # 0: not listed
        self.layer_rates: Floats = np.full(slots, np.nan)
        self._leaves_at: Floats = np.full(slots, np.inf)
        self._serves = np.zeros(slots, dtype=np.bool_)
        self._is_awaited = np.zeros(slots, dtype=np.bool_)
        self._shares: Floats = np.zeros(slots)
        self._weigh = weigh
        self._now = 0.0

    def put(self, slot: int, entry: Entry) -> None:
        """Replace the server's entry."""
        self.drop(slot)
        self.servers += 1
        layers = entry.layers
        self.starts[slot], self.ends[slot] = layers.start, layers.end
        self.layer_rates[slot] = np.nan if entry.layer_rate is None else entry.layer_rate
        self._leaves_at[slot] = np.inf if entry.leaves_at is None else entry.leaves_at
        stays = self._leaves_at[slot] - self._now >= MOVE_SECONDS
        self._serves[slot] = entry.serves and stays
        self._is_awaited[slot] = entry.is_awaited and stays
        one = slice(slot, slot + 1)
        self._shares[one] = self._weighed(one)
        self.rates[layers.start : layers.end] += self._shares[slot]
        self._served[layers.start : layers.end] += self._serves[slot]
        self._awaited[layers.start : layers.end] += self._is_awaited[slot]
        if entry.claim is not None:
            self.claims[slot] = entry.claim
        if entry.intention is not None:
            self.intentions[slot] = entry.intention

    def drop(self, slot: int) -> None:
        """Forget the server. Harmless if it isn't listed."""
        layers = slice(self.starts[slot], self.ends[slot])
        self.rates[layers] -= self._shares[slot]
        self._served[layers] -= self._serves[slot]
        self._awaited[layers] -= self._is_awaited[slot]
        self.version += 1
        self.servers -= bool(self.ends[slot])
        self.starts[slot] = self.ends[slot] = 0
        self.claims.pop(slot, None)
        self.intentions.pop(slot, None)

    def refresh(self, now: float) -> None:
        """Count everybody anew, as of now."""
        self._now = now
        measured = self.layer_rates[(self.ends > 0) & ~np.isnan(self.layer_rates)]
        if len(measured):
            self.typical_rate = float(np.median(measured))
        everybody = slice(0, len(self.ends))
        self._shares[:] = np.where(self.ends > 0, self._weighed(everybody), 0.0)
        rates = np.maximum(self._sums(self._shares), 0.0)
        self.version += not np.allclose(rates, self.rates)
        self.rates[:] = rates
        stay = (self.ends > 0) & (self._leaves_at - now >= MOVE_SECONDS)
        self._serves &= stay
        self._is_awaited &= stay
        self._served[:] = self._sums(self._serves)
        self._awaited[:] = self._sums(self._is_awaited)

    def _sums(self, values: Floats | NDArray[np.bool_]) -> Floats:
        """[layers] The sum of the values of those that are listed with each layer."""
        changes = np.zeros(self.num_layers + 1)
        np.add.at(changes, self.starts, values)
        np.subtract.at(changes, self.ends, values)
        sums: Floats = np.cumsum(changes[:-1])
        return sums

    def rates_without(self, slot: int) -> Rates:
        """Those of all others."""
        rates = self.rates.copy()
        rates[self.starts[slot] : self.ends[slot]] -= self._shares[slot]
        return np.maximum(rates, 0.0)

    def firm_rates_without(self, slot: int) -> Rates:
        """Those of all others that may not choose other layers any more."""
        rates = self.rates_without(slot)
        for other in self.claims:
            if other != slot:
                rates[self.starts[other] : self.ends[other]] -= self._shares[other]
        return np.maximum(rates, 0.0)

    def holders_without(self, slot: int) -> Holders:
        """How many others hold each layer, or will."""
        served, awaited = self._served.copy(), self._awaited.copy()
        served[self.starts[slot] : self.ends[slot]] -= self._serves[slot]
        awaited[self.starts[slot] : self.ends[slot]] -= self._is_awaited[slot]
        return Holders(served=served, awaited=awaited)

    def _weighed(self, slots: slice) -> Floats:
        rates = self.layer_rates[slots]
        rates = np.where(np.isnan(rates), self.typical_rate, rates)
        lengths = np.maximum(self.ends[slots] - self.starts[slots], 1)
        return self._weigh(rates, lengths, np.maximum(self._leaves_at[slots] - self._now, 0.0))
