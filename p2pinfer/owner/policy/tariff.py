"""What a kWh costs: the same always, by the hours of the week, or as a signal tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from p2pinfer.owner.policy.hours import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedHours:
    """Hours with a price of their own."""

    window: Window
    price: float  # of a kWh


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Prices of a kWh, in the policy's currency. Tariff() is one that nobody has told us."""

    price: float | None = None  # in all hours that `hours` doesn't name
    hours: tuple[PricedHours, ...] = ()  # the first that fits counts
    from_signal: bool = False  # the signal `price` tells, and nothing else

    def at(self, local: datetime) -> float | None:
        """The price when the clock on the wall shows `local`; None if unknown, or told by a signal."""
        if self.from_signal:
            return None
        return next((hours.price for hours in self.hours if hours.window.covers(local)), self.price)
