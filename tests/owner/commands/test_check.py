"""`check` says what a policy means, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.commands import check
from p2pinfer.owner.policy.templates import MachineKind, policy_text
from tests.owner.commands.running import arguments, unused_lines, with_used
from tests.owner.signals.watching import free_port

pytestmark = pytest.mark.usefixtures("secrets")


def checked(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> list[str]:
    (folder / "policy.toml").write_text(f"version = 1\n{text}")
    (folder / "policy.toml").chmod(0o600)
    assert check.run(arguments(check, folder, "--no-ask")) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("kind", MachineKind)
def test_check_says_what_every_setting_means(
    kind: MachineKind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """In lines that fit a terminal, for the file with everything in use too."""
    text = policy_text(kind).replace("version = 1", "")
    for one in (text, with_used(text, *unused_lines(text))):
        lines = checked(tmp_path, capsys, one)
        assert lines[0] == "policy.toml has no mistakes."
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
sharing = { monthly_gb = 50, mbit_per_s = 5 }
relaying = { monthly_gb = 20, mbit_per_s = 2.5 }
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
        "While somebody uses the machine, it takes at most 25 % of the processors,",
        "and also while nothing tells whether somebody does.",
        "It takes at most 50 % of the processors, and the machine draws at most 60 W.",
        "It gives the files of its layers to others, at most 50 GB a month and 5 Mbit/s, "
        "but never while clients wait.",
        "While others can reach it, it passes traffic on between those who can't be reached, "
        "at most 20 GB a month and 2.5 Mbit/s.",
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
    assert "It gives the files of its layers to others, but never while clients wait." in lines


@pytest.mark.parametrize("setting", ["sharing = false", "sharing = { monthly_gb = 0 }"])
def test_check_says_that_nothing_is_shared(setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = checked(tmp_path, capsys, f"[limits]\n{setting}")

    assert "It gives no files of its layers to others." in lines


@pytest.mark.parametrize("setting", ["relaying = false", "relaying = { monthly_gb = 0 }"])
def test_check_says_that_nothing_is_relayed(setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = checked(tmp_path, capsys, f"[limits]\n{setting}")

    assert "It passes nothing on between others whose routers let nobody in." in lines


def test_check_takes_another_file_and_tells_its_mistakes(tmp_path: Path):
    path = tmp_path / "other.toml"
    path.write_text("version = 1\n[when]\nparked = 1\n")

    with pytest.raises(UsageError, match=r"^other\.toml line 3: parked = 1: true or false is expected$"):
        check.run(arguments(check, tmp_path, str(path)))


def test_without_a_policy_check_says_how_to_write_one_in_the_same_folder(tmp_path: Path):
    folder = tmp_path / "my data"
    with pytest.raises(UsageError, match=f"`python -m p2pinfer.owner --data-folder '{folder}' init` writes"):
        check.run(arguments(check, folder))
    with pytest.raises(UsageError, match=r"^there is no policy at \S*other\.toml$"):
        check.run(arguments(check, tmp_path, str(tmp_path / "other.toml")))


def test_check_warns_of_secrets_that_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "policy.toml"
    path.write_text("version = 1\n[mqtt]\nhost = 'a'\npassword = 's3cret'\n")
    path.chmod(0o644)
    check.run(arguments(check, tmp_path))
    assert f"chmod 600 {path}" in capsys.readouterr().out

    path.chmod(0o600)
    check.run(arguments(check, tmp_path))
    assert "chmod" not in capsys.readouterr().out


def asked(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> list[str]:
    """What `check` says after it has asked the sources."""
    (folder / "policy.toml").write_text(f"version = 1\n{text}")
    assert check.run(arguments(check, folder)) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    return lines[lines.index("Its sources, asked now, say") + 1 :]


def test_check_asks_every_source_once_and_says_what_it_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    port = free_port()
    (tmp_path / "place").write_text("Home")
    text = f"""
[when]
parked = true
battery_max_celsius = 40
places = ["Home"]
max_price = 0.3
battery_floor_percent = 50
[tariff]
price = "signal"
[mqtt]
host = "127.0.0.1"
port = {port}
[signals]
parked = {{ mqtt = "car/gear" }}
battery_percent = {{ mqtt = "car/level" }}
battery_celsius = {{ file = "none" }}
place = {{ file = "place" }}
price = {{ command = ["/bin/echo", "0.2"] }}
watts = {{ command = ["/bin/false"] }}
"""
    assert asked(tmp_path, capsys, text) == [
        f"battery_celsius not known: there is no such file (file {tmp_path}/none)",
        f"battery_percent not known: connection refused (mqtt broker 127.0.0.1:{port})",
        f"parked not known: connection refused (mqtt broker 127.0.0.1:{port})",
        "place place is Home",
        "price echo is 0.2",
        "watts not known: it ended with status 1 (command /bin/false)",
        "",
        "By these rules it would not work now:",
        f"mqtt broker 127.0.0.1:{port}: connection refused, so parked and battery_percent aren't known: "
        "start the broker, or correct host and port in [mqtt]",
        f"file {tmp_path}/none: there is no such file, so battery_celsius isn't known: "
        "start the program that writes it",
    ]
    assert caplog.records == []


@pytest.mark.usefixtures("bare_machine")
def test_check_says_that_the_limit_holds_where_nothing_tells_whether_the_machine_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    reason = "this machine can't tell: it has no list of logins, and no logind"
    assert asked(tmp_path, capsys, '[in_use]\nthen = "limit"') == [
        f"in_use not known: {reason} (host in_use), so the limit holds",
        "",
        "By these rules it would work now, with at most 25 % of the processors.",
    ]
    assert asked(tmp_path, capsys, '[in_use]\nthen = "stop"')[2:] == [
        "By these rules it would not work now:",
        f"{reason}, so in_use isn't known: name another source in [signals], "
        'or set then = "limit" or "ignore" in [in_use]',
    ]


def test_check_says_that_it_would_work_where_everything_is_as_the_owner_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The traffic, which the server counts, doesn't stand in the way here."""
    (tmp_path / "parked").write_text("yes")
    text = "[when]\nparked = true\nmonthly_traffic_gb = 1\n[signals]\nparked = { file = 'parked' }"

    assert asked(tmp_path, capsys, text) == [
        "parked parked is yes",
        "",
        "By these rules it would work now, with at most 100 % of the processors.",
    ]


def test_check_of_a_strangers_file_can_do_without_running_its_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    checked(tmp_path, capsys, f'[signals]\nprice = {{ command = ["/bin/touch", "{tmp_path}/done"] }}')
    assert not (tmp_path / "done").exists()


def test_a_password_in_an_address_is_shown_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Neither Home Assistant's, nor one in a command, nor in what an unreachable home is told of."""
    port = free_port()
    (tmp_path / "policy.toml").write_text(
        f"""version = 1
[when]
parked = true
plugged_in = true
[home_assistant]
url = "http://me:s3cret@127.0.0.1:{port}/"
token = "t0ken"
[signals]
parked = {{ home_assistant = "binary_sensor.car" }}
plugged_in = {{ command = ["sh", "-c", "false http://me:s3cret@h/?token=s3cret"] }}
"""
    )
    (tmp_path / "policy.toml").chmod(0o600)
    check.run(arguments(check, tmp_path))
    said = " ".join(capsys.readouterr().out.split())

    assert f"home_assistant is http://***@127.0.0.1:{port}/" in said and "connection refused" in said
    assert "false http://***@h/?token=***" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[home_assistant]\nurl = 'http://me:s3/cret@home'\ntoken = 't'", id="a slash in it"),
        pytest.param("[home_assistant]\nurl = 'ftp://me:s3cret@home'\ntoken = 't'", id="another scheme"),
        pytest.param("[mqtt]\nhost = 'me:s3cret@home'", id="a broker"),
        pytest.param("[mqtt]\nhost = 'mqtt://me:s3cret@home'", id="a broker's address"),
        pytest.param("[when]\nwifi = {a = 'http://me:s3cret@home'}", id="where none is expected"),
    ],
)
def test_nor_is_one_shown_in_a_mistake(tmp_path: Path, text: str):
    (tmp_path / "policy.toml").write_text(f"version = 1\n{text}\n")
    with pytest.raises(UsageError) as wrong:
        check.run(arguments(check, tmp_path, "--no-ask"))
    assert "expected" in str(wrong.value) and "cret" not in str(wrong.value)
