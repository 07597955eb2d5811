"""A month's statement: work, energy, cost and credit, day by day. text.py prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from p2pinfer.identity import public_key_of
from p2pinfer.owner.ledger.entries import EndedSession, SignedWork, SmallWork, Transition
from p2pinfer.owner.ledger.interval import JOULES_PER_KWH, Interval
from p2pinfer.owner.statement.figures import Figures
from p2pinfer.owner.statement.month import Month
from p2pinfer.owner.statement.rates import Rate, rate_of
from p2pinfer.owner.states import OwnerState
from p2pinfer.types import PeerId, SessionId

SERVING_STATES = frozenset({OwnerState.SERVING, OwnerState.DRAINING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A month, day by day. Days without any entry are left out."""

    month: Month
    days: tuple[tuple[date, Figures], ...]
    changes: tuple[Transition, ...]  # of servers' states

    @property
    def total(self) -> Figures:
        """The figures of the whole month."""
        total = Figures()
        for _, figures in self.days:
            total.add(figures)
        return total


def make_statement(
    month: Month,
    *,
    receipts: Iterable[SignedWork],
    sessions: Iterable[EndedSession],
    small_work: Iterable[SmallWork] = (),
    intervals: Iterable[Interval],
    transitions: Iterable[Transition],
    rates: Iterable[Rate],
    to_local: Callable[[float], datetime],
) -> Statement:
    """Add up the ledger's entries of a month; `to_local` turns Unix seconds into local time.

    Signed work counts on the day of its signature, unsigned work on the day when its session ended, an
    interval on the day when it began. A session counts once: on the first day of the month on which one of
    its receipts was signed or the session ended. Small work, whose receipts aren't kept, is unsigned. Credit
    follows the rate at the time of the signature.
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
    for small in small_work:
        figures = on_day(small.at)
        figures.sessions += small.sessions
        figures.unsigned_layer_tokens += small.layer_tokens
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
    figures.shared_bytes += interval.shared_bytes
    source = interval.energy_source
    figures.joules[source] = figures.joules.get(source, 0.0) + interval.joules
    if not interval.joules:
        return
    money = figures.in_currency(interval.currency)
    if interval.price is None:
        money.unpriced = True
    else:
        money.priced = True
        money.cost += Decimal(repr(interval.price)) * Decimal(repr(interval.joules)) / JOULES_PER_KWH
