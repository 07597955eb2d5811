"""`check` says what a policy means, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.commands import check
from p2pinfer.owner.policy.templates import MachineKind, policy_text
from tests.owner.commands.running import arguments, unused_lines, with_used

pytestmark = pytest.mark.usefixtures("secrets")


def checked(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> list[str]:
    (folder / "policy.toml").write_text(f"version = 1\n{text}")
    (folder / "policy.toml").chmod(0o600)
    assert check.run(arguments(check, folder)) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("kind", MachineKind)
def test_check_says_what_every_setting_means(
    kind: MachineKind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """In lines that fit a terminal, for the file with everything in use too."""
    text = policy_text(kind).replace("version = 1", "")
    for one in (text, with_used(text, *unused_lines(text))):
        lines = checked(tmp_path, capsys, one)
        assert lines[0] == "policy.toml is fine."
        assert "secret" not in " ".join(lines)


def test_check_lists_conditions_and_where_signals_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = """
[when]
parked = true
hours = ["mon-fri 22:00-07:00", "sat,sun"]
battery_floor_percent = 50
machine_max_celsius = 85
monthly_traffic_gb = 100
max_price = 0.3
exclusive_programs = ["steam", "blender"]
[in_use]
then = "limit"
[limits]
cpu_share = 0.5
watts = 60
[tariff]
price = 0.32
hours = [{ when = "22:00-06:00", price = 0.24 }]
[mqtt]
host = "broker"
[signals]
parked = { mqtt = "car/gear" }
watts = { file = "/run/watts" }
"""
    lines = checked(tmp_path, capsys, text)

    for line in (
        "the car is parked else: other servers take over",
        "it is mon-fri 22:00-07:00 or sat,sun 00:00-24:00 else: other servers take over",
        "a kWh costs at most 0.3 EUR else: other servers take over",
        "the battery is at 50 % or more, and at 55 % to begin else: other servers take over",
        "the machine has at most 85 °C, and 80 °C to begin else: stops at once",
        "this month's traffic is less than 100 GB else: other servers take over",
        "neither steam nor blender runs else: other servers take over",
        "A signal without news for 60 s isn't known, and stops it at once.",
        "While somebody uses the machine, it takes at most 25 % of the processors.",
        "It takes at most 50 % of the processors, and the machine draws at most 60 W.",
        "A kWh costs 0.32 EUR, 22:00-06:00: 0.24 EUR.",
        "parked mqtt car/gear",
        "in_use this machine",
        "watts file /run/watts",
        "traffic_bytes the server counts it",
        "mqtt is the broker broker, port 1883",
    ):
        assert line in lines


def test_check_of_an_empty_policy_says_that_nothing_holds_it_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    lines = checked(tmp_path, capsys, "")

    assert "It always works: no condition is in use." in lines


def test_check_takes_another_file_and_tells_its_mistakes(tmp_path: Path):
    path = tmp_path / "other.toml"
    path.write_text("version = 1\n[when]\nparked = 1\n")

    with pytest.raises(UsageError, match=r"^other\.toml line 3: parked = 1: true or false is expected$"):
        check.run(arguments(check, tmp_path, str(path)))


def test_check_warns_of_secrets_that_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "policy.toml"
    path.write_text("version = 1\n[mqtt]\nhost = 'a'\npassword = 's3cret'\n")
    path.chmod(0o644)
    check.run(arguments(check, tmp_path))
    assert f"chmod 600 {path}" in capsys.readouterr().out

    path.chmod(0o600)
    check.run(arguments(check, tmp_path))
    assert "chmod" not in capsys.readouterr().out
