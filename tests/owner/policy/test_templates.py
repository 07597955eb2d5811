"""The policies that `init` writes: what they allow, and that everything in them is valid and true."""

from __future__ import annotations

import re
from datetime import UTC
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.policy.conditions import Action, Condition, InUse
from p2pinfer.owner.policy.policy_file import parse_policy
from p2pinfer.owner.policy.templates import MachineKind, policy_text
from p2pinfer.owner.policy.toml_table import TomlTable
from p2pinfer.owner.policy.verdict import decide
from p2pinfer.owner.signals.config import Host, MqttTopic
from p2pinfer.owner.signals.readings import Signal
from tests.owner.commands.running import UNUSED, unused_lines, with_used

pytestmark = pytest.mark.usefixtures("secrets")

OTHER_WAY = re.compile(r'#   ([a-z_]+) = (\{.*\}|"[^"]*"|false)')


def test_a_home_machine_always_works_but_leaves_most_to_who_uses_it():
    policy = parse_policy(policy_text(MachineKind.HOME), "home")

    assert policy.conditions() == (Condition.IN_USE,)
    assert (policy.in_use, policy.cpu_share) == (InUse.LIMIT, 0.5)


def test_a_laptop_works_plugged_in_and_charged_on_a_network_without_costs():
    policy = parse_policy(policy_text(MachineKind.LAPTOP), "laptop")

    assert policy.plugged_in and policy.unmetered and policy.battery_floor_percent == 50
    assert set(policy.signals.sources.values()) == {Host()}


def test_a_car_is_listened_to_as_teslamate_publishes_it():
    policy = parse_policy(policy_text(MachineKind.CAR), "car")
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


@pytest.mark.parametrize("kind", MachineKind)
def test_all_that_is_commented_out_is_valid_together(kind: MachineKind, tmp_path: Path):
    text = policy_text(kind)
    policy = parse_policy(with_used(text, *unused_lines(text)), "all", folder=tmp_path)

    assert set(policy.conditions()) >= set(Condition) - {Condition.IN_USE}
    assert set(policy.signals.sources) == set(Signal) - {Signal.TRAFFIC_BYTES}


@pytest.mark.parametrize("kind", MachineKind)
def test_each_setting_that_is_commented_out_is_valid_or_says_what_it_needs(kind: MachineKind, tmp_path: Path):
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


@pytest.mark.parametrize("kind", MachineKind)
def test_each_other_way_to_say_it_is_valid(kind: MachineKind, tmp_path: Path):
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
    assert seen == 16


def test_every_setting_that_there_is_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the reader looks for, it finds a word about."""
    asked: set[str] = set()
    take = TomlTable._take

    def noted(table: TomlTable, key: str) -> object:
        asked.add(key)
        return take(table, key)

    monkeypatch.setattr(TomlTable, "_take", noted)
    text = policy_text(MachineKind.HOME)
    parse_policy(with_used(text, *unused_lines(text)), "p", folder=tmp_path)
    command = 'price = { command = ["x"] }\nparked = { file = "x" }\nin_use = { host = true }'
    parse_policy(f"version = 1\n[signals]\n{command}", "p")

    assert len(asked) > 60
    assert {key for key in asked if f"{key} = " not in text and f"[{key}]" not in text} == set()


def test_the_defaults_in_the_explanations_are_the_real_ones():
    """To use a line that shows a default changes nothing."""
    text = policy_text(MachineKind.HOME)
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


@pytest.mark.parametrize("kind", [MachineKind.LAPTOP, MachineKind.CAR])
def test_the_policy_of_the_templates_stops_where_nothing_is_known(kind: MachineKind):
    """An owner that forgets a source gets no work done, and nothing worse."""
    policy = parse_policy(policy_text(kind), "p")

    assert decide(policy, {}, now=1e9, zone=UTC, running=True).action is Action.STOP


def test_the_policy_for_a_home_machine_works_with_the_limit_where_nothing_is_known():
    policy = parse_policy(policy_text(MachineKind.HOME), "p")
    verdict = decide(policy, {}, now=1e9, zone=UTC, running=False)

    assert (verdict.action, verdict.limits.cpu_share) == (Action.RUN, 0.25)
