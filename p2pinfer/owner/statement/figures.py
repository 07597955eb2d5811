"""The figures of a day, or of several days: work, energy and money."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from p2pinfer.owner.ledger.interval import EnergySource


@dataclass(slots=True)
class Money:
    """What was spent and earned in one currency."""

    cost: Decimal = Decimal(0)  # of the energy whose price is known
    credit: Decimal = Decimal(0)
    priced: bool = False  # some energy had a price
    unpriced: bool = False  # some energy had no price

    @property
    def net(self) -> Decimal:
        """Credit less cost. If some energy had no price, the true net is smaller."""
        return self.credit - self.cost

    def add(self, other: Money) -> None:
        """Add the money of another day."""
        self.cost += other.cost
        self.credit += other.credit
        self.priced |= other.priced
        self.unpriced |= other.unpriced


@dataclass(slots=True)
class Figures:
    """What was done, used and earned."""

    sessions: int = 0
    prefill_layer_tokens: int = 0  # signed
    decode_layer_tokens: int = 0  # signed
    unsigned_layer_tokens: int = 0
    unrated_layer_tokens: int = 0  # the part of the signed work whose clients have no rate
    seconds_served: float = 0.0  # the sum over all servers
    shared_bytes: int = 0  # files of models that were sent to other machines
    joules: dict[EnergySource, float] = field(default_factory=dict)
    money: dict[str, Money] = field(default_factory=dict)  # by currency; "": no currency was named

    @property
    def total_joules(self) -> float:
        """The energy of all sources."""
        return sum(self.joules.values())

    @property
    def is_estimated(self) -> bool:
        """True if some of the energy was not measured."""
        return self.joules.get(EnergySource.ESTIMATE, 0.0) > 0

    def in_currency(self, currency: str) -> Money:
        """The money in this currency; the caller may add to it."""
        return self.money.setdefault(currency, Money())

    def add(self, other: Figures) -> None:
        """Add the figures of another day."""
        self.sessions += other.sessions
        self.prefill_layer_tokens += other.prefill_layer_tokens
        self.decode_layer_tokens += other.decode_layer_tokens
        self.unsigned_layer_tokens += other.unsigned_layer_tokens
        self.unrated_layer_tokens += other.unrated_layer_tokens
        self.seconds_served += other.seconds_served
        self.shared_bytes += other.shared_bytes
        for source, joules in other.joules.items():
            self.joules[source] = self.joules.get(source, 0.0) + joules
        for currency, money in other.money.items():
            self.in_currency(currency).add(money)
