"""What this machine says of itself: psutil for real, and plain readings where there is no such hardware."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from p2pinfer.owner.signals.sources import host
from p2pinfer.owner.signals.trouble import SourceError


def battery(percent: float = 71.4, *, plugged: bool | None = True) -> SimpleNamespace:
    """A battery as psutil describes one."""
    return SimpleNamespace(percent=percent, power_plugged=plugged)


def test_a_machine_without_battery_is_plugged_in_and_full():
    assert host.plugged_in_by(None).value is True
    assert host.battery_percent_by(None).value == 100.0
    assert (
        host.plugged_in_by(None).words == host.battery_percent_by(None).words == "this machine has no battery"
    )


def test_what_a_battery_says():
    assert host.plugged_in_by(battery()).value is True
    assert host.plugged_in_by(battery(plugged=False)).words == "this machine runs on its battery"
    assert host.battery_percent_by(battery()).value == 71.4
    assert host.battery_percent_by(battery()).words == "the battery is at 71 %"


def test_a_battery_that_does_not_know():
    with pytest.raises(SourceError):
        host.plugged_in_by(battery(plugged=None))
    for percent in (math.nan, -1.0):
        with pytest.raises(SourceError):
            host.battery_percent_by(battery(percent))


def test_the_hottest_sensor_that_can_be_believed():
    told = host.hottest(
        [("acpitz", 16.8), ("coretemp", 71.0), ("broken", 65261.8), ("off", 0.0), ("x", math.nan)]
    )
    assert told.value == 71.0
    assert told.words == "the hottest sensor (coretemp) is at 71 °C"
    with pytest.raises(SourceError):
        host.hottest([("broken", -128.0)])


def test_this_machine_answers_everything_or_says_why_not():
    for look in (host.plugged_in, host.battery_percent, host.machine_celsius):
        with contextlib.suppress(SourceError):
            assert look().words
    assert isinstance(host.terminals(), list)


def test_a_program_that_runs_is_found_by_its_name(tmp_path):
    name = "a-game-with-a-long-name"  # longer than the kernel keeps it
    (tmp_path / name).symlink_to(sys.executable)
    # Named so at its start, as a program of that name is.
    process = subprocess.Popen(
        [str(tmp_path / name), "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert host.program(["no-such-game", name.upper()]).value == name.upper()
        assert host.program([name]).words == f"{name} is running"
        assert host.program(["a-game-with-a-l"]).value == "a-game-with-a-l"  # as `top` shows it
        assert host.program(["no-such-game", "a-game"]).value == ""
    finally:
        process.communicate(b"\n")
    assert host.program([name]).value == ""
    assert host.program([]).value == ""


def test_this_process_is_found_too():
    with open(f"/proc/{os.getpid()}/comm" if sys.platform == "linux" else os.devnull) as file:
        name = file.read().strip()
    if not name:
        pytest.skip("Linux only")
    assert host.program([name]).value == name
