"""The history keeps what matters, forgets in time, and resists invented names."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import DatabaseError
from p2pinfer.health.kept.history import KEPT_MINUTES, MAX_MODELS, SILENT_MINUTES, History
from p2pinfer.health.snapshot.state import Sample
from p2pinfer.owner.statement.redeemed import Redeemed
from tests.health.states import HOSTILE_TEXTS, make_samples, model_hash

ROOT = Path(__file__).parents[3]
MINUTE = 60.0
NOW = 30_000_000 * MINUTE
MODEL = model_hash(0)


def sample(at: float = NOW, **changes: object) -> Sample:
    """A sample of a model with three servers."""
    fields: dict[str, object] = {
        "at": at,
        "servers": 3,
        "weakest_replicas": 1,
        "swarm_tokens_per_second": 50.0,
        "probe_tokens_per_second": None,
    }
    return Sample(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(tmp_path / "history.sqlite") as opened:
        yield opened


def test_samples_come_back_in_order(history: History):
    """Unchanged, with one sample per minute."""
    samples = make_samples(60)
    for one in (*samples[:-5], *reversed(samples[-5:])):  # the last ones not in their order
        assert history.add(MODEL, one)

    assert history.samples(MODEL, since=0.0) == samples


def test_history_outlives_the_process(tmp_path: Path):
    """It is on the disk when `add` returns."""
    with History.open(tmp_path / "h.sqlite") as history:
        assert history.add(MODEL, sample())
    with History.open(tmp_path / "h.sqlite") as history:
        assert history.samples(MODEL, since=0.0) == [sample()]
        assert history.samples(model_hash(1), since=0.0) == []


def test_only_what_is_asked_for_comes(history: History):
    """Since a time, to the minute. Impossible times mean the beginning or the end."""
    for minute in range(10):
        history.add(MODEL, sample(NOW + minute * MINUTE))

    assert [one.at for one in history.samples(MODEL, since=NOW + 8 * MINUTE + 1)] == [
        NOW + 8 * MINUTE,
        NOW + 9 * MINUTE,
    ]
    assert len(history.samples(MODEL, since=float("-inf"))) == 10
    assert len(history.samples(MODEL, since=float("nan"))) == 10
    assert history.samples(MODEL, since=float("inf")) == []


def test_samples_of_one_minute_are_one(history: History):
    """Averages, but the minimum for the weakest layer. Only minutes with a probe count for its average."""
    history.add(MODEL, sample(NOW + 10, servers=2, weakest_replicas=2, probe_tokens_per_second=8.0))
    history.add(MODEL, sample(NOW + 20, servers=4, weakest_replicas=0, swarm_tokens_per_second=0.0))
    history.add(MODEL, sample(NOW + 30, servers=6, weakest_replicas=3, swarm_tokens_per_second=25.0))

    assert history.samples(MODEL, since=0.0) == [
        Sample(
            at=NOW + 20,
            servers=4,
            weakest_replicas=0,
            swarm_tokens_per_second=25.0,
            probe_tokens_per_second=8.0,
        )
    ]


@given(
    minutes=st.lists(st.integers(0, KEPT_MINUTES - 1), min_size=1, max_size=20, unique=True),
    most=st.integers(2, 20),
)
@settings(max_examples=12)
def test_an_outage_never_disappears_in_a_longer_look(
    tmp_path_factory: pytest.TempPathFactory, minutes: list[int], most: int
):
    """At most the requested number, in order, within the ends; and the minimum survives."""
    with History.open(tmp_path_factory.mktemp("history") / "h.sqlite") as history:
        for minute in sorted(minutes):
            out = minute == minutes[0]
            history.add(MODEL, sample(NOW + minute * MINUTE, weakest_replicas=0 if out else 2))
        found = history.samples(MODEL, since=0.0, most=most)

    times = [one.at for one in found]
    assert 1 <= len(found) <= most
    assert all(early < late for early, late in pairwise(times))
    assert NOW + min(minutes) * MINUTE <= times[0] <= times[-1] <= NOW + max(minutes) * MINUTE
    assert [one.weakest_replicas for one in found].count(0) == 1


def test_points_stay_where_they_are_while_time_goes_on(history: History):
    """A plot that is redrawn every minute must not flicker."""
    for minute in range(150):
        history.add(MODEL, sample(NOW + minute * MINUTE, servers=minute))
    before = history.samples(MODEL, since=NOW, most=30)
    history.add(MODEL, sample(NOW + 150 * MINUTE))
    after = history.samples(MODEL, since=NOW, most=30)

    assert len(before) > 20
    assert after[:20] == before[:20]


def test_what_is_older_than_eight_days_goes(history: History):
    """For each model separately, when it gets a sample."""
    history.add(MODEL, sample(NOW))
    history.add(MODEL, sample(NOW + MINUTE))
    history.add(MODEL, sample(NOW + KEPT_MINUTES * MINUTE))

    assert [one.at for one in history.samples(MODEL, since=0.0)] == [
        NOW + MINUTE,
        NOW + KEPT_MINUTES * MINUTE,
    ]


def test_a_clock_that_was_wrong_leaves_nothing_behind(history: History):
    """A sample of the year 2100 would be the newest for ever."""
    history.add(MODEL, sample(4_102_444_800.0))
    history.add(MODEL, sample(NOW))

    assert history.samples(MODEL, since=0.0) == [sample(NOW)]


def test_the_file_is_bounded_however_often_it_is_added_to(history: History, tmp_path: Path):
    """One row a minute, and the last eight days of them."""
    for second in range(120):
        history.add(MODEL, sample(NOW + second))
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM minutes").fetchone() == (2,)


def test_invented_models_pass_through_and_a_real_one_stays(history: History):
    """Two hundred names, each seen once: a model with a history keeps it, even through an outage."""
    for minute in range(30):
        history.add(MODEL, sample(NOW + minute * MINUTE))
    for number in range(200):
        history.add(model_hash(number + 1), sample(NOW + (100 + number) * MINUTE))

    assert len(history.samples(MODEL, since=0.0)) == 30
    assert history.samples(model_hash(200), since=0.0)
    assert not history.samples(model_hash(1), since=0.0)


def test_names_that_all_live_have_room_for_64(history: History):
    """A further model is refused until one of them is silent."""
    later = NOW + SILENT_MINUTES * MINUTE
    assert history.add_all({model_hash(number): sample() for number in range(MAX_MODELS)}) == MAX_MODELS
    assert not history.add(model_hash(1000), sample(later))
    assert history.add(model_hash(1000), sample(later + MINUTE))


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_what_is_no_hash_is_not_kept(history: History, name: str):
    """It is a manifest hash, or another short harmless text."""
    assert history.add(name, sample()) is (0 < len(name) <= 64 and name.isprintable())
    if "\ud800" not in name:
        history.samples(name, since=0.0)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0, 1e308])
def test_numbers_that_cannot_be_are_unknown(history: History, number: float):
    """A sample without a valid time is not kept."""
    assert not history.add(MODEL, sample(number))
    assert history.add(
        MODEL,
        sample(
            servers=2**70,
            weakest_replicas=-(2**70),
            swarm_tokens_per_second=number,
            probe_tokens_per_second=number,
        ),
    )
    [kept] = history.samples(MODEL, since=0.0)
    assert (kept.servers, kept.weakest_replicas) == (10**6, 0)
    assert (kept.swarm_tokens_per_second, kept.probe_tokens_per_second) == (0.0, None)


@pytest.mark.parametrize("damage", [b"", b"not SQLite at all", b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture):
    """The page starts with an empty file; each damaged file is kept under a new name."""
    path = tmp_path / "history.sqlite"
    for number in (1, 2):
        path.write_bytes(damage)
        with caplog.at_level(logging.WARNING), History.open(path) as history:
            assert history.samples(MODEL, since=0.0) == []
            assert history.add(MODEL, sample())
        assert (tmp_path / f"history.sqlite.damaged-{number}").read_bytes() == damage
        assert f"history.sqlite.damaged-{number}" in caplog.text


def test_what_belongs_to_a_damaged_file_goes_with_it(tmp_path: Path):
    """Writes that SQLite keeps beside a file must not be read into a new one."""
    (tmp_path / "history.sqlite").write_bytes(b"not SQLite at all")
    (tmp_path / "history.sqlite-wal").write_bytes(b"its last writes")
    with History.open(tmp_path / "history.sqlite"):
        pass

    assert (tmp_path / "history.sqlite.damaged-1-wal").read_bytes() == b"its last writes"


def test_pages_that_are_overwritten_in_the_middle_are_found(tmp_path: Path):
    """At the start, not at the first request."""
    path = tmp_path / "history.sqlite"
    with History.open(path) as history:
        for minute in range(400):
            history.add(MODEL, sample(NOW + minute * MINUTE))
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = b"\xa5" * (len(data) - 12288)
    path.write_bytes(data)
    with History.open(path) as history:
        assert history.samples(MODEL, since=0.0) == []

    assert (tmp_path / "history.sqlite.damaged-1").read_bytes() == data


def test_what_belongs_to_something_else_is_not_touched(tmp_path: Path):
    """The operator can correct a wrong path."""
    path = tmp_path / "redeemed.sqlite"
    with Redeemed.open(path):
        pass
    with pytest.raises(DatabaseError, match="not a history"):
        History.open(path)

    assert [file.name for file in tmp_path.iterdir()] == ["redeemed.sqlite"]


_WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from p2pinfer.health.kept.history import History
from tests.health.kept.test_history import MINUTE, NOW, sample

history = History.open(Path(sys.argv[1]))
for minute in range(10**6):
    history.add(sys.argv[2], sample(NOW + minute * MINUTE))
    print(minute, flush=True)
"""


def test_a_kill_in_the_middle_of_a_write_costs_nothing(tmp_path: Path):
    """Every sample whose `add` returned is there, and the file is intact."""
    path = tmp_path / "history.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_UNTIL_KILLED, str(path), MODEL],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(50)]
        writer.kill()
        said += [int(line) for line in writer.stdout if line.endswith("\n")]
    with History.open(path) as history:
        kept = len(history.samples(MODEL, since=0.0, most=10**6))

    assert kept in (len(said), len(said) + 1)
    assert not list(tmp_path.glob("*damaged*"))
