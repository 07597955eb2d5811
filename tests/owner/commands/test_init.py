"""`init` writes a policy for the machine that it runs on."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from dbus_fast import Variant

from p2pinfer.errors import UsageError
from p2pinfer.owner.commands import init
from p2pinfer.owner.policy.conditions import InUse
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.policy.templates import MachineKind, policy_text
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.sources.host import has_battery
from tests.owner.commands.running import arguments
from tests.owner.signals.buses import Daemon, Service, needs_dbus_daemon


@pytest.mark.usefixtures("full_machine")
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
    said = capsys.readouterr().out
    assert str(path) in said
    assert said.endswith(f": python -m p2pinfer.owner --data-folder {folder} check\n")


@pytest.mark.usefixtures("full_machine")
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


@pytest.mark.usefixtures("full_machine")
@pytest.mark.parametrize(("has_battery", "kind"), [(True, MachineKind.LAPTOP), (False, MachineKind.HOME)])
def test_a_machine_with_a_battery_is_taken_for_a_laptop(
    has_battery: bool, kind: MachineKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("p2pinfer.owner.signals.sources.host.has_battery", lambda: has_battery)
    init.run(arguments(init, tmp_path))

    assert (tmp_path / "policy.toml").read_text() == policy_text(kind)


def test_a_system_that_knows_no_batteries_is_a_home_machine(monkeypatch: pytest.MonkeyPatch):
    """psutil knows them on some systems only, and is asked where there is no /sys."""
    monkeypatch.setattr("p2pinfer.owner.signals.sources.host.sys.platform", "sunos5")
    monkeypatch.delattr("p2pinfer.owner.signals.sources.host.psutil.sensors_battery")

    assert not has_battery()


@pytest.mark.usefixtures("bare_machine")
def test_what_a_machine_cannot_tell_stays_out_of_use_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    """The file of a container works as it is; nothing in it waits for what will never be heard."""
    assert init.run(arguments(init, tmp_path, "--for", "home")) == 0
    said = capsys.readouterr().out
    text = (tmp_path / "policy.toml").read_text()
    policy = load_policy(tmp_path / "policy.toml")

    reason = "this machine can't tell: it has no list of logins, and no logind"
    assert f"  in_use           {reason}\n" in said
    assert f'# Not in use: {reason}.\n#then = "limit"\n' in text
    assert policy.conditions() == () and policy.cpu_share == 0.5
    assert caplog.records == []

    assert init.run(arguments(init, tmp_path, "--for", "laptop", "--force")) == 0
    policy = load_policy(tmp_path / "policy.toml")
    assert "  unmetered        this machine has no D-Bus that p2pinfer can reach\n" in capsys.readouterr().out
    assert policy.plugged_in and policy.battery_floor_percent == 50
    assert not policy.unmetered and policy.in_use is InUse.IGNORE


@pytest.mark.usefixtures("bare_machine")
def test_what_a_car_tells_by_a_broker_is_not_asked_of_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    init.run(arguments(init, tmp_path, "--for", "car"))

    assert "can't tell" not in capsys.readouterr().out
    assert (tmp_path / "policy.toml").read_text() == policy_text(MachineKind.CAR)


@needs_dbus_daemon
async def test_what_a_machine_only_does_not_know_at_the_moment_stays_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A laptop that is offline: NetworkManager runs, and doesn't know whether the network is metered."""
    name = "org.freedesktop.NetworkManager"
    manager = Service(name, {("/org/freedesktop/NetworkManager", name): {"Metered": Variant("u", 0)}})
    logind = Service("org.freedesktop.login1", {})
    logind.answers["ListSessions"] = ("a(susso)", [[]])
    async with Daemon(tmp_path).running() as daemon:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", daemon.address)
        async with manager.on(daemon.address), logind.on(daemon.address):
            found = await asyncio.to_thread(init.what_this_machine_cannot_tell, MachineKind.LAPTOP)
        assert found == {}
        found = await asyncio.to_thread(init.what_this_machine_cannot_tell, MachineKind.LAPTOP)
        assert found[Signal.UNMETERED] == "NetworkManager doesn't run here"
