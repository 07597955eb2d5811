"""`init` writes a policy for the machine that it runs on."""

from __future__ import annotations

import os
import stat
import sys
import types
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.commands import init
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.policy.templates import MachineKind, policy_text
from tests.owner.commands.running import arguments


@pytest.mark.parametrize("kind", MachineKind)
def test_what_init_writes_is_valid_and_private(
    kind: MachineKind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """It may come to hold a password. The folder is made; nothing else is left in it."""
    folder = tmp_path / "data" / "p2pinfer"
    assert init.run(arguments(init, folder, "--for", kind)) == 0

    (path,) = folder.iterdir()
    assert path.name == "policy.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_policy(path) == parse_policy(policy_text(kind), "policy.toml")
    assert str(path) in capsys.readouterr().out


def test_init_keeps_a_file_that_is_there_unless_forced(tmp_path: Path):
    path = tmp_path / "policy.toml"
    path.write_text("mine")

    with pytest.raises(UsageError, match=r"policy\.toml exists already: .*--force"):
        init.run(arguments(init, tmp_path, "--for", "home"))
    assert path.read_text() == "mine"

    assert init.run(arguments(init, tmp_path, "--for", "home", "--force")) == 0
    assert path.read_text() == policy_text(MachineKind.HOME)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"can't be written \(Not a directory\)"):
        init.run(arguments(init, tmp_path / "file" / "data", "--for", "home"))


@pytest.mark.parametrize(("battery", "kind"), [(object(), MachineKind.LAPTOP), (None, MachineKind.HOME)])
def test_a_machine_with_a_battery_is_taken_for_a_laptop(
    battery: object, kind: MachineKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "psutil", types.SimpleNamespace(sensors_battery=lambda: battery))
    init.run(arguments(init, tmp_path))

    assert (tmp_path / "policy.toml").read_text() == policy_text(kind)


def test_a_system_that_knows_no_batteries_is_a_home_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psutil", types.SimpleNamespace())

    assert not init.has_battery()
