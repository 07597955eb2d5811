"""What one model's servers really hold, and what is measured of it, at every change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2pinfer.server.placement.choice import Numbers, Rates
from p2pinfer.types import Span
from scripts.fleet.stays import DAY, HOUR


@dataclass(slots=True)
class Tally:
    """Of some hours. All but the last three are sums over seconds."""

    seconds: float = 0.0
    possible: float = 0.0  # those present have room for every layer
    held_once: float = 0.0  # every layer, by a server that takes new sessions
    held_twice: float = 0.0
    bottleneck: float = 0.0  # tokens per second at the weakest layer
    oracle: float = 0.0
    of_oracle: float = 0.0  # the bottleneck, divided by the oracle's
    of_loaded: float = 0.0  # divided by what those that have loaded could do, placed at will
    present: float = 0.0
    moves: int = 0
    joins: int = 0
    fetched_bytes: float = 0.0

    def add(self, other: Tally) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Service:
    """One model's. The oracle has everybody who is present, placed at will, in parts of layers if need be."""

    def __init__(self, num_layers: int) -> None:
        self.hours = [Tally() for _ in range(24)]  # by the hour of the first zone's clock
        self.numbers: Numbers = np.zeros(num_layers, dtype=np.int64)
        self._rates: Rates = np.zeros(num_layers)
        self._present, self._room_layers = 0, 0
        self._present_rate, self._loaded_rate = 0.0, 0.0
        self._now = 0.0

    def tally(self) -> Tally:
        """That of this hour."""
        return self.hours[int(self._now % DAY // HOUR)]

    def advance(self, now: float) -> None:
        """Count the time until now. Called at every full hour, and more often."""
        seconds = now - self._now
        if seconds > 0.0:
            tally, total = self.tally(), len(self.numbers)
            fewest, weakest = int(self.numbers.min()), float(self._rates.min())
            tally.seconds += seconds
            tally.possible += seconds * (self._room_layers >= total)
            tally.held_once += seconds * (fewest >= 1)
            tally.held_twice += seconds * (fewest >= 2)
            tally.bottleneck += seconds * weakest
            tally.oracle += seconds * self._present_rate / total
            tally.present += seconds * self._present
            if self._present:
                tally.of_oracle += seconds * weakest * total / self._present_rate
            if self._loaded_rate > 1e-6:
                tally.of_loaded += seconds * weakest * total / self._loaded_rate
            self._now = now

    def forget(self, now: float) -> None:
        """Begin to measure now."""
        self.advance(now)
        self.hours = [Tally() for _ in range(24)]
        self._now = now

    def came(self, now: float, layer_rate: float, room_layers: int, sign: int = 1) -> None:
        """A machine is present from now on; with sign -1, it isn't any more."""
        self.advance(now)
        self._room_layers += sign * room_layers
        self._present += sign
        self._present_rate += sign * layer_rate

    def serves(self, now: float, layers: Span, layer_rate: float, sign: int = 1) -> None:
        """A server has loaded these layers; with sign -1, it takes no more sessions."""
        self.advance(now)
        self.numbers[layers.start : layers.end] += sign
        self._rates[layers.start : layers.end] += sign * layer_rate / len(layers)
        self._rates[self.numbers == 0] = 0.0
        self._loaded_rate += sign * layer_rate
