"""Hours of the week, by the clock on the wall and through its changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.policy.hours import Window, edges, next_time, parse_window

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [BERLIN, ZoneInfo("America/St_Johns"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC"), UTC]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def end_of(window: str, begun: datetime) -> datetime | None:
    """When the hours that `begun` lies in are over."""
    hours = parse_window(window)
    assert hours.covers(begun)
    end = next_time(
        lambda local: not hours.covers(local), edges([hours]), after=begun.timestamp(), zone=begun.tzinfo
    )
    return None if end is None else datetime.fromtimestamp(end, UTC)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start, end = draw(st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True))
    days = draw(st.frozensets(st.integers(0, 6), min_size=1))
    return Window(days=days, start_minute=start, end_minute=end)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mon-fri 22:00-07:00", "mon-fri 22:00-07:00"),
        ("Sat, Sun 8:00 - 20:30", "sat,sun 08:00-20:30"),
        ("22:00-06:00", "22:00-06:00"),
        ("fri-mon 00:00-24:00", "fri-mon 00:00-24:00"),
        ("wednesday", "wed 00:00-24:00"),
        ("mon wed fri - sat 01:00-02:00", "mon,wed,fri,sat 01:00-02:00"),
        ("mon - sun 22:00-00:00", "22:00-00:00"),
    ],
)
def test_hours_are_written_as_people_do(text: str, meant: str):
    assert str(parse_window(text)) == meant
    assert parse_window(meant) == parse_window(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "are expected"),
        ("mon 7:00", "are expected"),
        ("monn 07:00-08:00", '"monn" is not a day'),
        ("m 07:00-08:00", '"m" is not a day'),
        ("mon- 07:00-08:00", '"" is not a day'),
        ("07:00-25:00", "25:00 is not a time"),
        ("07:61-08:00", "07:61 is not a time"),
        ("24:00-06:00", "24:00 can only be an end"),
        ("07:00-07:00", "the whole day is 00:00-24:00"),
        ("07:00-08:00 mon", "nothing is expected behind"),
        ("-", "is not a day"),
        (",", "is not a day"),
        ("never", "is not a day"),
    ],
)
def test_what_is_no_hours_is_refused_with_the_reason(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        parse_window(text)


@given(windows())
@settings(max_examples=50)
def test_hours_are_the_same_when_read_again(window: Window):
    assert parse_window(str(window)) == window


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin():
    night = parse_window("fri 22:00-07:00")

    assert night.covers(at("2026-01-02 22:00"))  # a Friday
    assert night.covers(at("2026-01-03 06:59"))
    assert not night.covers(at("2026-01-03 07:00"))
    assert not night.covers(at("2026-01-02 06:00"))
    assert not night.covers(at("2026-01-03 23:00"))


def test_the_end_is_found_to_the_second():
    assert end_of("mon-fri 22:00-07:00", at("2026-01-02 23:17:12.5")) == at("2026-01-03 07:00")
    assert end_of("sat,sun", at("2026-01-03 10:00")) == at("2026-01-05 00:00")
    assert end_of("mon-sun", at("2026-01-03 10:00")) is None


def test_an_end_less_than_a_second_away_is_not_missed():
    assert end_of("22:00-07:00", at("2026-01-03 06:59:59.999")) == at("2026-01-03 07:00")


def test_a_night_with_a_change_of_the_clock_ends_when_the_wall_says_so():
    """Eight hours in spring, ten in autumn."""
    for evening, morning, hours in (
        ("2026-03-28 22:00", "2026-03-29 07:00", 8),
        ("2026-10-24 22:00", "2026-10-25 07:00", 10),
    ):
        end = end_of("22:00-07:00", at(evening))
        assert end == at(morning)
        assert end - at(evening).astimezone(UTC) == timedelta(hours=hours)


def test_an_end_that_the_clock_skips_is_when_it_skips():
    """At 02:00 it is 03:00, and 02:30 is over."""
    assert end_of("00:00-02:30", at("2026-03-29 01:00")) == at("2026-03-29 03:00")


def test_an_end_that_the_clock_shows_twice_is_the_first_one_and_the_hours_begin_again():
    first, again = at("2026-10-25 02:30"), at("2026-10-25 02:30", fold=1)
    hours = parse_window("00:00-02:30")

    assert end_of("00:00-02:30", at("2026-10-25 01:00")) == first.astimezone(UTC)
    # At 03:00 it is 02:00 for the second time.
    begins = next_time(hours.covers, edges([hours]), after=first.timestamp(), zone=BERLIN)
    assert begins == again.timestamp() - 1800


@given(
    hours=st.lists(windows(), min_size=1, max_size=3),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    zone=st.sampled_from(ZONES),
)
@settings(max_examples=40)
def test_the_next_change_is_neither_missed_nor_made_up(hours: list[Window], start: datetime, zone: ZoneInfo):
    """Compared with looking at the clock every half hour, and just before the change that was found."""

    def inside(moment: float) -> bool:
        return any(window.covers(datetime.fromtimestamp(moment, zone)) for window in hours)

    after = start.replace(tzinfo=UTC).timestamp()
    before = inside(after)
    found = next_time(
        lambda local: any(window.covers(local) for window in hours) != before,
        edges(hours),
        after=after,
        zone=zone,
    )

    until = after + 7 * 86400 if found is None else found
    moments = [after + 1800 * step for step in range(1, int((until - after) // 1800) + 1)]
    moments += [] if found is None else [found - 0.001]
    assert all(inside(moment) == before for moment in moments if after < moment < until)
    assert found is None or (found > after and inside(found) != before)


def test_every_day_has_a_name():
    for day, name in enumerate(DAYS):
        assert parse_window(name).days == {day}
