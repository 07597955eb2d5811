"""What running has cost: whose energy it was, by which meter, and what clocks and counters do meanwhile."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.ledger.interval import EnergySource
from p2pinfer.owner.metering.energy import Look, Meter, joules_between, machine_watts, quiet_package_watts
from p2pinfer.owner.metering.rapl import MAX_PACKAGE_WATTS, PackageEnergy, joules_drawn, read_packages
from p2pinfer.types import PeerId

START = Look(at=1_000_000.0, awake_seconds=500.0, cpu_seconds=10.0, busy_seconds=5000.0)
RANGE = 262_143_328_850
PEER = PeerId("12D3KooWServer")


def package(joules: float, name: str = "intel-rapl:0", range_microjoules: int = RANGE) -> PackageEnergy:
    return PackageEnergy(name=name, microjoules=int(joules * 1e6), range_microjoules=range_microjoules)


def counter(microjoules: int) -> PackageEnergy:
    return replace(package(0), microjoules=microjoules)


def later(before: Look, seconds: float = 30.0, *, ours: float = 0.0, others: float = 0.0, **what) -> Look:
    """The next look, after these computing seconds of the server and of other programs."""
    return replace(
        before,
        at=before.at + seconds,
        awake_seconds=before.awake_seconds + seconds,
        cpu_seconds=before.cpu_seconds + ours,
        busy_seconds=before.busy_seconds + ours + others,
        **what,
    )


def joules(before: Look, after: Look, **draw) -> tuple[float, EnergySource]:
    return joules_between(before, after, **({"watts_per_core": 8.0, "idle_watts": 20.0} | draw))


# The kernel's files.


def write_zone(folder: Path, zone: str, name: str, microjoules: int) -> None:
    (folder / zone).mkdir()
    (folder / zone / "name").write_text(f"{name}\n")
    (folder / zone / "energy_uj").write_text(f"{microjoules}\n")
    (folder / zone / "max_energy_range_uj").write_text(f"{RANGE}\n")


def test_packages_are_read_and_nothing_that_is_a_part_of_them(tmp_path):
    write_zone(tmp_path, "intel-rapl:0", "package-0", 7_000_000)
    write_zone(tmp_path, "intel-rapl:0:0", "core", 5_000_000)
    write_zone(tmp_path, "intel-rapl:1", "package-1", 9_000_000)
    write_zone(tmp_path, "intel-rapl:2", "psys", 90_000_000)
    write_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 7_000_000)
    (tmp_path / "intel-rapl").mkdir()
    assert read_packages(tmp_path) == (package(7), package(9, "intel-rapl:1"))


@pytest.mark.parametrize("trouble", ["absent", "only root", "nonsense"])
def test_without_counters_that_can_be_read_there_are_none(tmp_path, trouble):
    """One that is missing in the sum would be a lie."""
    write_zone(tmp_path, "intel-rapl:0", "package-0", 7_000_000)
    write_zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    counter = tmp_path / "intel-rapl:1" / "energy_uj"
    counter.unlink()
    if trouble == "only root":
        counter.mkdir()  # can't be read by root either
    elif trouble == "nonsense":
        counter.write_text("-\n")
    assert read_packages(tmp_path) == ()
    assert read_packages(tmp_path / "nowhere") == ()


@given(
    begin=st.integers(0, RANGE),
    drawn=st.lists(st.integers(0, int(MAX_PACKAGE_WATTS * 30 * 1e6)), min_size=1, max_size=4),
)
@settings(max_examples=100)
def test_a_counter_that_begins_again_loses_nothing(begin, drawn):
    total, before = 0.0, begin
    for microjoules in drawn:
        after = (before + microjoules) % RANGE
        found = joules_drawn([counter(before)], [counter(after)], 30.0)
        assert found is not None
        total, before = total + found, after
    assert total == pytest.approx(sum(drawn) / 1e6)


def test_a_counter_that_was_reset_in_sleep_is_not_one_that_has_begun_again():
    assert joules_drawn([package(200_000)], [package(5)], 30.0) is None


def test_a_counter_that_may_have_begun_again_twice_tells_nothing():
    assert joules_drawn([package(10)], [package(20)], RANGE / 1e6 / MAX_PACKAGE_WATTS + 1) is None


def test_packages_that_come_and_go_tell_nothing():
    assert joules_drawn([package(1)], [package(2), package(2, "intel-rapl:1")], 30.0) is None
    assert joules_drawn([], [], 30.0) is None


# Whose energy it was.


def test_the_owners_meter_comes_first_then_the_processors_counters_then_an_estimate():
    meter, rapl = {"watts": 50.0}, {"packages": (package(1000),)}
    after = later(START, ours=30.0)
    assert joules(replace(START, **meter, **rapl), replace(after, **meter, **rapl))[1] is EnergySource.SIGNAL
    assert joules(replace(START, **rapl), replace(after, **rapl))[1] is EnergySource.RAPL
    assert joules(START, after) == (30.0 * 8.0, EnergySource.ESTIMATE)


def test_by_the_owners_meter_it_is_what_is_drawn_beyond_idling_for_as_long_as_it_was():
    before = replace(START, watts=40.0)
    assert joules(before, later(before, ours=30.0, watts=60.0)) == (30.0 * 30.0, EnergySource.SIGNAL)
    assert joules(before, later(before, ours=30.0, watts=None))[0] == 20.0 * 30.0  # it fell silent
    assert joules(before, later(before, ours=30.0, watts=math.nan))[0] == 20.0 * 30.0
    assert joules(replace(START, watts=-5.0), later(START, ours=30.0, watts=-5.0))[0] == 0  # the sun shines


def test_what_others_compute_is_theirs():
    """A game that draws 300 W while we pause is not our cost; half of the computing is half of the energy."""
    before = replace(START, watts=320.0)
    assert joules(before, later(before, ours=0.003, others=60.0))[0] < 0.5
    assert joules(before, later(before, ours=30.0, others=30.0))[0] == 300.0 * 30.0 / 2
    before = replace(START, packages=(package(1000),))
    assert joules(before, later(before, ours=10.0, others=30.0, packages=(package(1400),)))[0] == 100.0


def test_of_the_packages_what_they_draw_in_a_quiet_machine_is_not_ours():
    before = replace(START, packages=(package(1000),))
    after = later(before, ours=30.0, packages=(package(1600),))
    assert joules(before, after)[0] == 600.0
    assert joules(before, after, quiet_watts=5.0)[0] == 450.0
    assert joules(before, after, quiet_watts=50.0)[0] == 0.0


looks = st.builds(
    Look,
    at=st.floats(0, 2e9),
    awake_seconds=st.floats(0, 1e6),
    cpu_seconds=st.floats(0, 1e6),
    busy_seconds=st.floats(0, 1e6),
    packages=st.lists(st.integers(0, RANGE), max_size=1).map(lambda counters: tuple(map(counter, counters))),
    watts=st.sampled_from([None, math.nan, math.inf, -math.inf]) | st.floats(-1e6, 1e6),
    sent_bytes=st.integers(0, 10**12),
    received_bytes=st.integers(0, 10**12),
)


@given(before=looks, after=looks)
@settings(max_examples=100)
def test_whatever_clocks_and_counters_do_no_cost_is_negative_and_no_interval_ends_before_it_begins(
    before, after
):
    interval = Meter(PEER, before, processors=4).interval(
        after, state="serving", watts_per_core=8.0, idle_watts=20.0, price=None, currency="EUR"
    )
    assert interval.started_at <= interval.ended_at == after.at
    assert 0 <= interval.joules < math.inf and interval.cpu_seconds >= 0
    assert interval.sent_bytes >= 0 and interval.received_bytes >= 0
    if interval.energy_source is EnergySource.RAPL:
        assert interval.joules <= MAX_PACKAGE_WATTS * max(0.0, after.awake_seconds - before.awake_seconds)


# Intervals.


def intervals(*looks: Look, processors: int = 4) -> list:
    meter = Meter(PEER, looks[0], processors=processors)
    return [
        meter.interval(look, state="serving", watts_per_core=8.0, idle_watts=20.0, price=0.3, currency="EUR")
        for look in looks[1:]
    ]


def test_intervals_follow_each_other_without_a_gap_and_add_up():
    second = later(START, ours=3.0, sent_bytes=100, received_bytes=10, shared_bytes=60)
    third = later(second, 7.5, ours=1.0, sent_bytes=150, received_bytes=30, shared_bytes=80)
    first, last = intervals(START, second, third)
    assert (first.started_at, first.ended_at) == (START.at, last.started_at)
    assert last.ended_at == third.at
    assert (first.sent_bytes, last.sent_bytes, last.received_bytes) == (100, 50, 20)
    assert (first.shared_bytes, last.shared_bytes) == (60, 20)
    assert first.cpu_seconds + last.cpu_seconds == 4.0
    assert first.joules + last.joules == 4.0 * 8.0
    assert (first.server, first.state, first.price, first.currency) == (PEER, "serving", 0.3, "EUR")


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 1e9, -5.0])
def test_a_clock_that_is_set_changes_no_duration(jump):
    """Sleep adds nothing either: the clock has gone on, and the machine hasn't."""
    after = later(START, ours=3.0)
    (interval,) = intervals(START, replace(after, at=after.at + jump))
    assert interval.ended_at == after.at + jump
    assert interval.ended_at - interval.started_at == pytest.approx(30.0)
    assert interval.joules == 24.0


def test_a_sleeping_machine_costs_nothing_by_the_meter_that_was_read_before():
    before = replace(START, watts=120.0)
    after = later(before, 30.0, ours=30.0)
    (interval,) = intervals(before, replace(after, at=after.at + 8 * 3600))
    assert interval.joules == 100.0 * 30.0


def test_counters_that_go_backwards_count_as_nothing():
    after = replace(later(START), cpu_seconds=1.0, busy_seconds=3.0, sent_bytes=0)
    (interval,) = intervals(replace(START, sent_bytes=1000), after)
    assert (interval.cpu_seconds, interval.sent_bytes, interval.joules) == (0.0, 0, 0.0)


def test_once_the_machine_was_seen_quiet_only_what_is_beyond_is_charged():
    """150 J in 30 quiet seconds are 5 W, so 150 of the next 600 J aren't the server's."""
    loaded = replace(START, packages=(package(1000),))
    quiet = later(loaded, ours=30.0, packages=(package(1600),))
    again = later(quiet, ours=0.01, packages=(package(1750),))
    last = later(again, ours=30.0, packages=(package(2350),))
    found = [interval.joules for interval in intervals(loaded, quiet, again, last)]
    assert found == pytest.approx([600.0, 0.0, 450.0])


def test_only_a_machine_that_computes_next_to_nothing_is_quiet():
    before = replace(START, packages=(package(1000),))
    after = {"packages": (package(1150),)}
    assert quiet_package_watts(before, later(before, others=2.0, **after), processors=4) == 5.0
    assert quiet_package_watts(before, later(before, others=3.0, **after), processors=4) is None
    assert quiet_package_watts(before, later(before, 1.0, **after), processors=4) is None
    assert quiet_package_watts(START, later(START), processors=4) is None


# Watts, for the cap.


def test_the_machines_watts_are_the_meters_or_what_its_processors_should_draw():
    draw = {"watts_per_core": 8.0, "idle_watts": 20.0}
    after = later(START, ours=30.0, others=15.0)
    assert machine_watts(START, after, **draw) == 20.0 + 1.5 * 8.0
    assert machine_watts(START, replace(after, watts=77.0), **draw) == 77.0
    assert machine_watts(START, START, **draw) is None
    before = replace(START, packages=(package(0),))
    assert machine_watts(before, replace(after, packages=(package(1500),)), **draw) == 50.0
