"""Local time as the C library has it. The right values come from `date`, and for names from zoneinfo."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.owner.policy.hours import edges, next_time, parse_window
from p2pinfer.owner.zone import LocalZone, local_zone, zone_doubt

ZONES = Path("/usr/share/zoneinfo")
BERLIN_RULE = "CET-1CEST,M3.5.0,M10.5.0/3"
FORMS = [
    BERLIN_RULE,
    "EST5EDT",
    "EST5EDT,M3.2.0,M11.1.0",
    "<+03>-3",
    "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1",  # Greenland: rules in negative hours
    "<+0330>-3:30",
    "IST-1GMT0,M10.5.0,M3.5.0/1",  # Ireland: summer time is the standard
    "NZST-12NZDT,M9.5.0,M4.1.0/3",
    "XXX3YYY,J60/2,J300/2",
    "XXX3YYY,59/2,299/2",  # counts 29 February
    "XXX-3YYY,M3.4.4/50,M10.4.4/50",  # Israel: rules of more than a day
    "XXX3YYY-14:30:15,M3.1.0/-167,M10.1.0/167",
    "AAA24",
    "AAA-24:30",  # a day ahead and more
    "AAA0",
    "UTC",
    "UTC0",
    "GMT+5",
    "",
    ":",
    "Nonsense/Zone",
    "nonsense",
    "CET-1CEST,nonsense",
    "CET-1CEST,M13.5.0,M10.5.0/3",
    "12",
    "-",
    "<>3",
    "A1",
    "\u65e5\u672c",
]
NAMES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Europe/Dublin",
    "Antarctica/Troll",
]
needs_zones = pytest.mark.skipif(not (ZONES / "Europe/Berlin").exists(), reason="needs the zones' files")
needs_date = pytest.mark.skipif(shutil.which("date") is None, reason="needs date")
moments = st.integers(0, 4_102_444_800)
"""Unix seconds from 1970 to 2100."""


@contextmanager
def zone(text: str | None) -> Iterator[LocalZone]:
    with pytest.MonkeyPatch.context() as patch:
        if text is None:
            patch.delenv("TZ", raising=False)
        else:
            patch.setenv("TZ", text)
        yield local_zone()
    time.tzset()


def dates(text: str, seconds: list[int]) -> list[str]:
    """What the program `date` prints at these Unix seconds."""
    done = subprocess.run(
        ["date", "-f", "-", "+%Y-%m-%d %H:%M:%S"],
        input="".join(f"@{second}\n" for second in seconds),
        env={"TZ": text, "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def over_the_years() -> list[int]:
    """Every 7 hours and some minutes of some years, so that clock changes are met from both sides."""
    seconds: list[int] = []
    for year in (1999, 2024, 2026, 2037, 2045):
        start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        seconds += range(start, start + 367 * 86_400, 25_907)
    return seconds


@needs_date
@pytest.mark.parametrize("text", [*FORMS, *(f":{name}" for name in NAMES), *NAMES])
def test_every_form_of_tz_shows_the_time_that_the_machines_clock_shows(text: str):
    seconds = over_the_years()
    with zone(text) as local:
        ours = [f"{datetime.fromtimestamp(second, local):%Y-%m-%d %H:%M:%S}" for second in seconds]

    assert ours == dates(text, seconds)


@needs_zones
@needs_date
@pytest.mark.parametrize("prefix", ["", ":"])
def test_tz_may_be_the_path_of_a_file(tmp_path: Path, prefix: str):
    copied = tmp_path / "a zone"
    shutil.copyfile(ZONES / "Europe/Berlin", copied)
    for path in (ZONES / "Europe/Berlin", copied):
        with zone(f"{prefix}{path}") as local:
            assert datetime.fromtimestamp(1_782_864_000, local).isoformat() == "2026-07-01T02:00:00+02:00"
            assert zone_doubt() is None


@needs_zones
@given(seconds=moments, microseconds=st.integers(0, 999_999), name=st.sampled_from(NAMES))
def test_a_moment_is_the_same_in_both_directions_and_as_zoneinfo_has_it(
    seconds: int, microseconds: int, name: str
):
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    right = moment.astimezone(ZoneInfo(name))
    with zone(name) as local:
        ours = moment.astimezone(local)
        assert ours.replace(tzinfo=None) == right.replace(tzinfo=None)
        assert (ours.fold, ours.utcoffset()) == (right.fold, right.utcoffset())
        assert ours.timestamp() == moment.timestamp()
        assert ours.astimezone(UTC) == moment


@needs_zones
@given(
    local_time=st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),
    fold=st.integers(0, 1),
    name=st.sampled_from(NAMES),
)
def test_every_time_on_the_clock_has_the_offset_of_zoneinfo_skipped_and_repeated_ones_too(
    local_time: datetime, fold: int, name: str
):
    with zone(name) as local:
        ours = local_time.replace(tzinfo=local, fold=fold).utcoffset()

    assert ours == local_time.replace(tzinfo=ZoneInfo(name), fold=fold).utcoffset()


@needs_zones
@pytest.mark.parametrize(("day", "hour"), [("2026-03-29", 2), ("2026-10-25", 2)])
@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("text", [BERLIN_RULE, "Europe/Berlin", ":Europe/Berlin"])
def test_the_hours_of_the_clock_change_are_as_pep_495_has_them(text: str, day: str, hour: int, fold: int):
    local_time = datetime.fromisoformat(day).replace(hour=hour, minute=30, fold=fold)
    with zone(text) as local:
        ours = local_time.replace(tzinfo=local)
        assert ours.utcoffset() == local_time.replace(tzinfo=ZoneInfo("Europe/Berlin")).utcoffset()


HOURS = [
    "01:30-02:30",
    "02:00-03:00",
    "sun 02:30-02:45",
    "22:00-07:00",
    "sat 00:00-24:00",
    "mon-fri 00:30-01:30",
]


@needs_zones
@given(
    days=st.integers(-3, 3),
    seconds=st.integers(0, 86_399),
    change=st.sampled_from(["2026-03-29", "2026-10-25"]),
    text=st.sampled_from([BERLIN_RULE, "Europe/Berlin"]),
    hours=st.sampled_from(HOURS),
)
def test_a_policys_hours_begin_and_end_around_clock_changes_as_in_the_named_zone(
    days: int, seconds: int, change: str, text: str, hours: str
):
    window = parse_window(hours)
    after = (datetime.fromisoformat(f"{change}T00:00:00+00:00") + timedelta(days=days)).timestamp() + seconds
    with zone(text) as local:
        found = [
            next_time(covers, edges([window]), after=after, zone=local)
            for covers in (window.covers, lambda moment: not window.covers(moment))
        ]
    berlin = ZoneInfo("Europe/Berlin")
    assert found == [
        next_time(covers, edges([window]), after=after, zone=berlin)
        for covers in (window.covers, lambda moment: not window.covers(moment))
    ]


def test_an_offset_beyond_a_day_raises_nothing():
    with zone("AAA-24:30") as local:
        moment = datetime.fromtimestamp(0, local)
        assert moment.replace(tzinfo=None) == datetime(1970, 1, 2, 0, 30)
        moment.timestamp()


@pytest.mark.parametrize(
    "text", [None, "", ":", BERLIN_RULE, "<+03>-3", "UTC", "GMT+5", "Etc/UTC", "EST5EDT"]
)
def test_a_zone_that_the_machine_knows_is_not_doubted(text: str | None):
    with zone(text):
        assert zone_doubt() is None


@pytest.mark.parametrize("text", ["Europe/Berln", "nonsense", ":Mars/Olympus", "/no/such/file"])
def test_a_zone_that_the_machine_takes_as_utc_is_named(text: str):
    with zone(text):
        assert (
            zone_doubt()
            == f"TZ={text.removeprefix(':')}: this machine knows no such time zone, so hours are taken in UTC"
        )
