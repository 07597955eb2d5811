"""What a kWh costs."""

from __future__ import annotations

from datetime import UTC, datetime

from p2pinfer.owner.policy.hours import parse_window
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.tariff import PricedHours, Tariff
from p2pinfer.owner.policy.verdict import price_at
from p2pinfer.owner.signals.readings import Reading, Signal

NIGHT = PricedHours(window=parse_window("22:00-06:00"), price=0.2)
WEEKEND = PricedHours(window=parse_window("sat,sun"), price=0.25)
FRIDAY = datetime(2026, 1, 2, tzinfo=UTC)


def test_hours_have_prices_of_their_own_and_the_first_that_fits_counts():
    tariff = Tariff(price=0.3, hours=(NIGHT, WEEKEND))

    assert tariff.at(FRIDAY.replace(hour=12)) == 0.3
    assert tariff.at(FRIDAY.replace(hour=23)) == 0.2
    assert tariff.at(FRIDAY.replace(day=3, hour=12)) == 0.25
    assert tariff.at(FRIDAY.replace(day=3, hour=23)) == 0.2


def test_nobody_knows_the_price_of_no_tariff():
    assert Tariff().at(FRIDAY) is None
    assert price_at(Policy(), {}, now=0.0, zone=UTC) is None


def test_the_price_follows_the_clock_of_the_time_zone():
    policy = Policy(tariff=Tariff(price=0.3, hours=(NIGHT,)))

    assert price_at(policy, {}, now=FRIDAY.replace(hour=23).timestamp(), zone=UTC) == 0.2
    assert price_at(policy, {}, now=FRIDAY.replace(hour=12).timestamp(), zone=UTC) == 0.3


def test_a_price_by_signal_counts_while_it_is_fresh_and_a_number():
    """Below zero too: there are such hours."""
    policy = Policy(tariff=Tariff(from_signal=True, price=0.3))

    def price(value: object, at: float) -> float | None:
        return price_at(policy, {Signal.PRICE: Reading(value=value, at=at)}, now=1000.0, zone=UTC)

    assert price(0.42, 999.0) == 0.42
    assert price(-0.02, 941.0) == -0.02
    assert price(0.42, 939.0) is None
    assert price(float("nan"), 999.0) is None
    assert price("0.42", 999.0) is None
    assert price_at(policy, {}, now=1000.0, zone=UTC) is None
