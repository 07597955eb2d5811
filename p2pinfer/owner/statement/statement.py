"""A month's figures, by day: work, energy, cost and credit. What they look like is in statement_text.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from p2pinfer.errors import UsageError
from p2pinfer.identity import public_key_of
from p2pinfer.owner.ledger.entries import EndedSession, SignedWork, Transition
from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.statement.rates import Rate, rate_of
from p2pinfer.owner.states import OwnerState
from p2pinfer.types import PeerId, SessionId

SERVING_STATES = frozenset({OwnerState.SERVING, OwnerState.DRAINING})

_JOULES_PER_KWH = 3_600_000
_FIRST_YEAR, _LAST_YEAR = 1971, 9998  # what every system's clock can tell, wherever it is


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One of a calendar, where the owner lives."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read `2026-11`. Raises UsageError."""
        try:
            first = datetime.strptime(text, "%Y-%m")
        except ValueError as error:
            raise UsageError(f"a month is written like 2026-11, not {text!r}") from error
        if not _FIRST_YEAR <= first.year <= _LAST_YEAR:
            raise UsageError(f"{text}: there was nothing to be stated yet, or never will be")
        return cls.of(first)

    @classmethod
    def of(cls, local: datetime) -> Month:
        """The month that a time belongs to."""
        return cls(local.year, local.month)

    @property
    def first(self) -> datetime:
        """Its first moment, by the clock on the wall."""
        return datetime(self.year, self.month, 1)

    @property
    def following(self) -> Month:
        """The one after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass(slots=True)
class Money:
    """What was spent and earned in one currency."""

    cost: Decimal = Decimal(0)  # of the energy whose price is known
    credit: Decimal = Decimal(0)
    priced: bool = False  # some energy had a price
    unpriced: bool = False  # some energy had none

    @property
    def net(self) -> Decimal:
        """Earned less spent; if some energy had no price, it is less than that."""
        return self.credit - self.cost

    def add(self, other: Money) -> None:
        """Count that in."""
        self.cost += other.cost
        self.credit += other.credit
        self.priced |= other.priced
        self.unpriced |= other.unpriced


@dataclass(slots=True)
class Figures:
    """Those of a day, or of several."""

    sessions: int = 0
    prefill_layer_tokens: int = 0  # signed
    decode_layer_tokens: int = 0  # signed
    unsigned_layer_tokens: int = 0
    unrated_layer_tokens: int = 0  # signed, by clients without a rate; part of the above
    seconds_served: float = 0.0  # of all servers together
    joules: dict[EnergySource, float] = field(default_factory=dict)
    money: dict[str, Money] = field(default_factory=dict)  # by currency; "": nobody has named one

    @property
    def total_joules(self) -> float:
        """However they were found."""
        return sum(self.joules.values())

    @property
    def is_estimated(self) -> bool:
        """True if some of the energy was not measured."""
        return self.joules.get(EnergySource.ESTIMATE, 0.0) > 0

    def in_currency(self, currency: str) -> Money:
        """To be added to."""
        return self.money.setdefault(currency, Money())

    def add(self, other: Figures) -> None:
        """Count those in."""
        self.sessions += other.sessions
        self.prefill_layer_tokens += other.prefill_layer_tokens
        self.decode_layer_tokens += other.decode_layer_tokens
        self.unsigned_layer_tokens += other.unsigned_layer_tokens
        self.unrated_layer_tokens += other.unrated_layer_tokens
        self.seconds_served += other.seconds_served
        for source, joules in other.joules.items():
            self.joules[source] = self.joules.get(source, 0.0) + joules
        for currency, money in other.money.items():
            self.in_currency(currency).add(money)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A month, day by day. Days on which nothing was noted are left out."""

    month: Month
    days: tuple[tuple[date, Figures], ...]
    changes: tuple[Transition, ...]  # of state

    @property
    def total(self) -> Figures:
        """Of all days."""
        total = Figures()
        for _, figures in self.days:
            total.add(figures)
        return total


def make_statement(
    month: Month,
    *,
    receipts: Iterable[SignedWork],
    sessions: Iterable[EndedSession],
    intervals: Iterable[Interval],
    transitions: Iterable[Transition],
    rates: Iterable[Rate],
    to_local: Callable[[float], datetime],
) -> Statement:
    """Add up what the ledger says about a month; `to_local` says what a clock on the wall shows.

    A session counts on the first day of the month that something of it was signed, or that it ended.
    Signed work counts on the day it was signed, unsigned work on the day its session ended, an interval on
    the day it began. Credit follows the rate of the time that the client has signed.
    """
    days: dict[date, Figures] = {}
    first_seen: dict[tuple[PeerId, SessionId], date] = {}
    published: dict[bytes, list[Rate]] = {}
    for rate in rates:
        published.setdefault(public_key_of(rate.client), []).append(rate)

    def on_day(at: float) -> Figures:
        return days.setdefault(to_local(at).date(), Figures())

    def see(session: SignedWork | EndedSession, at: float) -> None:
        key, day = (session.server, session.session_id), to_local(at).date()
        first_seen[key] = min(day, first_seen.get(key, day))

    for signed in receipts:
        see(signed, signed.added_at)
        _count_signed(on_day(signed.added_at), signed, published.get(signed.client, []))
    for session in sessions:
        see(session, session.ended_at)
        on_day(session.ended_at).unsigned_layer_tokens += session.unsigned_layer_tokens
    for interval in intervals:
        _count_interval(on_day(interval.started_at), interval)
    for day in first_seen.values():
        days[day].sessions += 1
    return Statement(month=month, days=tuple(sorted(days.items())), changes=tuple(transitions))


def _count_signed(figures: Figures, signed: SignedWork, published: Sequence[Rate]) -> None:
    figures.prefill_layer_tokens += signed.prefill_layer_tokens
    figures.decode_layer_tokens += signed.decode_layer_tokens
    rate = rate_of(published, published[0].client, signed.issued_at) if published else None
    if rate is None:
        figures.unrated_layer_tokens += signed.prefill_layer_tokens + signed.decode_layer_tokens
    else:
        credit = rate.credit(signed.prefill_layer_tokens, signed.decode_layer_tokens)
        figures.in_currency(rate.currency).credit += credit


def _count_interval(figures: Figures, interval: Interval) -> None:
    if interval.state in SERVING_STATES:
        figures.seconds_served += interval.ended_at - interval.started_at
    source = interval.energy_source
    figures.joules[source] = figures.joules.get(source, 0.0) + interval.joules
    if not interval.joules:
        return
    money = figures.in_currency(interval.currency)
    if interval.price is None:
        money.unpriced = True
    else:
        money.priced = True
        money.cost += Decimal(repr(interval.price)) * Decimal(repr(interval.joules)) / _JOULES_PER_KWH
