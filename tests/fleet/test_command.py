"""scripts/simulate_fleet: its table, and its flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pinfer.server.placement.moving import GAIN
from scripts.fleet.command import flags_of, simulate

SMALL = ["--servers", "12", "--hours", "1", "--models", "10,20", "--layer-mb", "10"]


def test_each_rule_has_a_line_for_each_model(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    kept = tmp_path / "values.json"

    assert simulate(flags_of([*SMALL, "--json", str(kept)])) == 0
    rows = capsys.readouterr().out.splitlines()[3:]
    assert [row.rsplit(maxsplit=12)[0].rstrip() for row in rows] == [
        f"ours, gain {GAIN:g}", f"ours, gain {GAIN:g}", "join only", "join only", "Petals", "Petals",
    ]  # fmt: skip
    assert [row.split()[-12] for row in rows] == ["10", "20"] * 3
    assert len(json.loads(kept.read_text())["models"]) == 6


def test_one_rule_with_several_gains_and_the_hours(capsys: pytest.CaptureFixture[str]):
    assert simulate(flags_of([*SMALL, "--rule", "ours", "--gain", "1.1,2", "--zones", "3", "--hourly"])) == 0
    printed = capsys.readouterr().out
    assert "ours, gain 1.1 " in printed and "ours, gain 2 " in printed
    assert sum(line.split()[0] == "15" for line in printed.splitlines()[3:]) == 4


@pytest.mark.parametrize(
    "flags", [["--rule", "chance"], ["--gain", "0.5"], ["--models", "0"], ["--gain", "x"]]
)
def test_what_cannot_be_simulated_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        flags_of(flags)
    assert flags[0] in capsys.readouterr().err
