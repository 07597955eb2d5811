"""The files in docs/examples can be used as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer.owner.policy.conditions import Condition
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.policy_file import load_policy
from p2pinfer.owner.signals.config import MqttTopic
from p2pinfer.owner.signals.readings import Signal
from tests.docs.command_lines import calls, parse

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
UNIT = EXAMPLES / "p2pinfer.service"
CONTAINERFILE = EXAMPLES / "Containerfile"


def unit_settings() -> dict[str, str]:
    """The last value of each setting in the unit."""
    lines = (line.partition("=") for line in UNIT.read_text(encoding="utf-8").splitlines() if line)
    return {key: value for key, equals, value in lines if equals and not key.startswith("#")}


def test_the_unit_starts_the_server_and_gives_it_time_to_drain():
    """Its command line is taken, and systemd waits for longer than a drain takes by default."""
    settings = unit_settings()

    ((program, arguments),) = calls(settings["ExecStart"])
    parse(program, arguments)
    assert program == "p2pinfer.server"
    assert float(settings["TimeoutStopSec"]) > Policy().drain_seconds
    assert settings["KillMode"] == "mixed"  # p2pd isn't told to end before the server has left
    assert settings["RestartPreventExitStatus"] == "2"  # of UsageError: only the owner can help


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path):
    """With a program that is there, which is the only thing that it looks for outside of the file."""
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/p2pinfer/.venv/bin/python", sys.executable), encoding="utf-8")

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    said = (checked.stdout + checked.stderr).splitlines()
    assert [line for line in said if UNIT.name in line] == []  # the rest is about this machine's own units


def test_the_container_is_made_of_what_is_there():
    """What is copied exists, and what is installed is pinned by a file that was copied."""
    text = CONTAINERFILE.read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]

    assert all((ROOT / source).exists() for source in copied)
    assert "scripts/constraints.txt" in copied
    assert "PIP_CONSTRAINT=/src/scripts/constraints.txt" in text
    assert text.count("\nUSER ") == 1


def test_the_household_policy_asks_teslamate_for_everything_that_it_needs():
    """Nothing is left to what a computer in a garage could tell of itself."""
    policy = load_policy(EXAMPLES / "teslamate-policy.toml")

    assert {Condition.PARKED, Condition.PLUGGED_IN, Condition.IN_USE} <= set(policy.conditions())
    sources = policy.signals.sources
    for signal in policy.needed_signals() - {Signal.TRAFFIC_BYTES}:
        source = sources[signal]
        assert isinstance(source, MqttTopic)
        assert source.topic.startswith("teslamate/cars/1/")
