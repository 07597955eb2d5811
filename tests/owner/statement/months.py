"""A month of work, energy and money, to make statements of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from p2pinfer.owner.ledger.entries import EndedSession, SignedWork
from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.statement.month import Month
from p2pinfer.owner.statement.rates import Rate, parse_rates
from p2pinfer.owner.statement.statement import Statement, make_statement
from p2pinfer.owner.states import OwnerState
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipts import Work
from tests.owner.signing import CLIENT, SERVER, SESSION

NOVEMBER = Month(2026, 11)

RATES_TEXT = f"""
[[sponsor]]
client = "{CLIENT.peer_id}"
name = "Example Foundation"
currency = "EUR"
per_million_prefill_layer_tokens = 0.1
per_million_decode_layer_tokens = 2
valid_from = 2026-01-01
"""

RATES = parse_rates(RATES_TEXT, "rates.toml")


def utc(at: float) -> datetime:
    """Local time in Greenwich."""
    return datetime.fromtimestamp(at, UTC)


def at(day: int, hour: float = 12.0) -> float:
    """Unix seconds of a moment in November."""
    return datetime(2026, 11, day, tzinfo=UTC).timestamp() + 3600 * hour


def signed_work(when: float, prefill: int, decode: int, **changes: Any) -> SignedWork:
    """Signed work in ten layers."""
    fields = {
        "server": SERVER.peer_id,
        "session_id": SESSION,
        "client": CLIENT.public_key,
        "model": "a" * 64,
        "layers": Span(10, 20),
        "added": Work(prefill, decode),
        "issued_at": when,
        "added_at": when,
    }
    return SignedWork(**(fields | changes))


def ended(when: float, done: Work, signed: Work, session_id: SessionId = SESSION) -> EndedSession:
    return EndedSession(
        server=SERVER.peer_id,
        session_id=session_id,
        client=CLIENT.public_key,
        model="a" * 64,
        layers=Span(10, 20),
        work=done,
        signed=signed,
        started_at=when - 60,
        ended_at=when,
    )


def interval(when: float, hours: float = 1.0, **changes: Any) -> Interval:
    """An hour of serving, for 0.36 kWh."""
    fields = {
        "server": SERVER.peer_id,
        "started_at": when,
        "ended_at": when + 3600 * hours,
        "state": OwnerState.SERVING,
        "joules": 1_296_000.0,
        "energy_source": EnergySource.RAPL,
        "cpu_seconds": 3000.0,
        "price": 0.25,
        "currency": "EUR",
        "sent_bytes": 0,
        "received_bytes": 0,
    }
    return Interval(**(fields | changes))


def statement(**parts: Any) -> Statement:
    """The statement of November, in Greenwich."""
    empty: dict[str, Any] = {
        "receipts": [],
        "sessions": [],
        "intervals": [],
        "transitions": [],
        "rates": RATES,
        "to_local": utc,
    }
    return make_statement(NOVEMBER, **(empty | parts))


def rate(**changes: Any) -> Rate:
    """The rate above, with changes."""
    return Rate(**({name: getattr(RATES[0], name) for name in Rate.__slots__} | changes))
