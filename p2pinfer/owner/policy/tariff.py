"""What a kWh costs: always the same, by the hours of the week, or as a signal says."""

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
    """Prices of a kWh, in the policy's currency. Tariff() stands for unknown prices."""

    price: float | None = None  # outside of `hours`
    hours: tuple[PricedHours, ...] = ()  # the first match counts
    from_signal: bool = False  # only the signal `price` says

    def at(self, local: datetime) -> float | None:
        """The price at this local time; None if it is unknown, or if a signal says it."""
        if self.from_signal:
            return None
        return next((hours.price for hours in self.hours if hours.window.covers(local)), self.price)
