"""`init` writes a policy that explains itself, and `check` says what a policy means."""

from __future__ import annotations

import argparse
import os
import re
import stat
import sys
import types
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.commands import check, init
from p2pinfer.owner.policy.conditions import Action, Condition, InUse
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.policy.templates import Kind, policy_text
from p2pinfer.owner.policy.toml_table import TomlTable
from p2pinfer.owner.policy.verdict import decide
from p2pinfer.owner.signals.config import Host, MqttTopic
from p2pinfer.owner.signals.readings import Signal

# `#key = value` isn't in use; `#   key = value` is another way to say the next one.
UNUSED = re.compile(r"#([a-z_]+ = .*)")
OTHER_WAY = re.compile(r'#   ([a-z_]+) = (\{.*\}|"[^"]*")')


def arguments(command: types.ModuleType, folder: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words, argparse.Namespace(data_folder=folder))


def unused_lines(text: str) -> Iterator[int]:
    yield from (number for number, line in enumerate(text.splitlines()) if UNUSED.fullmatch(line))


def with_used(text: str, *numbers: int) -> str:
    lines = text.splitlines()
    for number in numbers:
        lines[number] = lines[number].removeprefix("#")
    return "\n".join(lines)


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path) -> Path:
    """The files that the explanations speak of."""
    (tmp_path / "mqtt-password.txt").write_text("secret")
    (tmp_path / "home-assistant-token.txt").write_text("secret")
    return tmp_path


@pytest.mark.parametrize("kind", Kind)
def test_what_init_writes_is_valid_and_private(
    kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """It may come to hold a password. The folder is made; nothing else is left in it."""
    folder = tmp_path / "data" / "p2pinfer"
    assert init.run(arguments(init, folder, "--for", kind)) == 0

    (path,) = folder.iterdir()
    assert path.name == "policy.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_policy(path) == parse_policy(policy_text(kind), "policy.toml")
    assert str(path) in capsys.readouterr().out


def test_a_home_machine_always_works_but_leaves_most_to_who_uses_it():
    policy = parse_policy(policy_text(Kind.HOME), "home")

    assert policy.conditions() == (Condition.IN_USE,)
    assert (policy.in_use, policy.cpu_share) == (InUse.LIMIT, 0.5)


def test_a_laptop_works_plugged_in_and_charged_on_a_network_without_costs():
    policy = parse_policy(policy_text(Kind.LAPTOP), "laptop")

    assert policy.plugged_in and policy.unmetered and policy.battery_floor_percent == 50
    assert set(policy.signals.sources.values()) == {Host()}


def test_a_car_is_listened_to_as_teslamate_publishes_it():
    policy = parse_policy(policy_text(Kind.CAR), "car")
    topics = {
        signal: source.topic
        for signal, source in policy.signals.sources.items()
        if isinstance(source, MqttTopic)
    }

    assert policy.parked and policy.plugged_in and policy.in_use is InUse.DRAIN
    assert policy.signals.mqtt is not None and policy.signals.mqtt.host == "localhost"
    assert topics == {
        Signal.PARKED: "teslamate/cars/1/state",
        Signal.PLUGGED_IN: "teslamate/cars/1/plugged_in",
        Signal.BATTERY_PERCENT: "teslamate/cars/1/battery_level",
        Signal.IN_USE: "teslamate/cars/1/is_user_present",
    }
    assert set(policy.signals.sources) == set(topics) == policy.needed_signals()


@pytest.mark.parametrize("kind", Kind)
def test_all_that_is_commented_out_is_valid_together(kind: Kind, tmp_path: Path):
    text = policy_text(kind)
    policy = parse_policy(with_used(text, *unused_lines(text)), "all", folder=tmp_path)

    assert set(policy.conditions()) >= set(Condition) - {Condition.IN_USE}
    assert set(policy.signals.sources) == set(Signal) - {Signal.TRAFFIC_BYTES}


@pytest.mark.parametrize("kind", Kind)
def test_each_setting_that_is_commented_out_is_valid_or_says_what_it_needs(kind: Kind, tmp_path: Path):
    """A line is uncommented; while the answer says that it needs another setting, that one is too."""
    text = policy_text(kind)
    for number in unused_lines(text):
        used = [number]
        while error := mistake_in(with_used(text, *used), tmp_path):
            needed = {other for other in unused_lines(text) if is_asked_for(other, text, error)}
            assert needed - set(used), error
            used += needed


def mistake_in(text: str, folder: Path) -> str:
    try:
        parse_policy(text, "p", folder=folder)
    except UsageError as error:
        return str(error)
    return ""


def is_asked_for(number: int, text: str, error: str) -> bool:
    """True if the message asks for the setting in this line of the text, `key` in the table [table]."""
    lines = text.splitlines()
    key = lines[number].removeprefix("#").split(" = ")[0]
    table = next(line for line in reversed(lines[:number]) if line.startswith("["))
    if "means nothing without" in error:
        return table == "[when]" and error.endswith(f" {key}")
    return "needs " in error and table in error and (f"`{key}`" in error or f"a {key} in" in error)


@pytest.mark.parametrize("kind", Kind)
def test_each_other_way_to_say_it_is_valid(kind: Kind, tmp_path: Path):
    """Put in the place of the setting that follows it."""
    text = policy_text(kind)
    used = with_used(text, *unused_lines(text)).splitlines()
    seen = 0
    for number, line in enumerate(text.splitlines()):
        if not (found := OTHER_WAY.fullmatch(line)):
            continue
        replaced = next(
            other
            for other in range(number, len(used))
            if used[other].startswith((f"{found[1]} = ", f"{found[1].removesuffix('_file')} = "))
        )
        lines = [*used[:replaced], line.removeprefix("#   "), *used[replaced + 1 :]]
        if line == '#   price = "signal"':  # which hours with prices of their own exclude
            lines = [other for other in lines if "{ when =" not in other]
        parse_policy("\n".join(lines), "p", folder=tmp_path)
        seen += 1
    assert seen == 14


def test_every_setting_that_there_is_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the reader looks for, it finds a word about."""
    asked: set[str] = set()
    take = TomlTable._take

    def noted(table: TomlTable, key: str) -> object:
        asked.add(key)
        return take(table, key)

    monkeypatch.setattr(TomlTable, "_take", noted)
    text = policy_text(Kind.HOME)
    parse_policy(with_used(text, *unused_lines(text)), "p", folder=tmp_path)
    command = 'price = { command = ["x"] }\nparked = { file = "x" }\nin_use = { host = true }'
    parse_policy(f"version = 1\n[signals]\n{command}", "p")

    assert len(asked) > 60
    assert {key for key in asked if f"{key} = " not in text and f"[{key}]" not in text} == set()


def test_the_defaults_in_the_explanations_are_the_real_ones():
    """To use a line that shows a default changes nothing."""
    text = policy_text(Kind.HOME)
    sections = ("[energy]", "[timing]", "[actions]")
    numbers, table = [], ""
    for number, line in enumerate(text.splitlines()):
        table = line if line.startswith("[") else table
        if UNUSED.fullmatch(line) and (table in sections or "poll_seconds" in line or "currency" in line):
            numbers.append(number)
    policy = parse_policy(with_used(text, *numbers), "p")
    plain = parse_policy(text, "p")

    for condition in Condition:
        assert policy.action_of(condition) is plain.action_of(condition)
    for name in ("watts_per_core", "idle_watts", "drain_seconds", "stale_seconds", "currency", "signals"):
        assert getattr(policy, name) == getattr(plain, name)
    assert len(policy.actions) == 12


def test_init_keeps_a_file_that_is_there_unless_forced(tmp_path: Path):
    path = tmp_path / "policy.toml"
    path.write_text("mine")

    with pytest.raises(UsageError, match=r"policy\.toml is there already: .*--force"):
        init.run(arguments(init, tmp_path, "--for", "home"))
    assert path.read_text() == "mine"

    assert init.run(arguments(init, tmp_path, "--for", "home", "--force")) == 0
    assert path.read_text() == policy_text(Kind.HOME)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"can't be written \(Not a directory\)"):
        init.run(arguments(init, tmp_path / "file" / "data", "--for", "home"))


@pytest.mark.parametrize(("battery", "kind"), [(object(), Kind.LAPTOP), (None, Kind.HOME)])
def test_a_machine_with_a_battery_is_taken_for_a_laptop(
    battery: object, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "psutil", types.SimpleNamespace(sensors_battery=lambda: battery))
    init.run(arguments(init, tmp_path))

    assert (tmp_path / "policy.toml").read_text() == policy_text(kind)


def test_a_system_that_knows_no_batteries_is_a_home_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psutil", types.SimpleNamespace())

    assert not init.has_battery()


# check


def checked(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> list[str]:
    (folder / "policy.toml").write_text(f"version = 1\n{text}")
    (folder / "policy.toml").chmod(0o600)
    assert check.run(arguments(check, folder)) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("kind", Kind)
def test_check_says_what_every_setting_means(kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
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
        "the car is parked else: others take over first",
        "it is mon-fri 22:00-07:00 or sat,sun 00:00-24:00 else: others take over first",
        "a kWh costs at most 0.3 EUR else: others take over first",
        "the battery is at 50 % or more, and at 55 % to begin else: others take over first",
        "the machine has at most 85 °C, and 80 °C to begin else: stops at once",
        "less than 100 GB went by this month else: others take over first",
        "neither steam nor blender runs else: others take over first",
        "What it hasn't heard of for 60 s isn't known, and stops it at once.",
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

    assert "It works whenever there is something to do: no condition is in use." in lines


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


def test_the_policy_of_the_templates_stops_where_nothing_is_known():
    """Whoever forgets a source gets no work done, and nothing worse."""
    for kind in Kind:
        policy = parse_policy(policy_text(kind), "p")
        assert decide(policy, {}, now=1e9, zone=UTC, running=True).action is Action.STOP
