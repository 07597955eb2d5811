"""Whether somebody uses the machine: real terminals, and logind's answers on a real bus."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from functools import partial

import pytest
from dbus_fast import Variant

from p2pinfer.owner.signals.sources import in_use
from p2pinfer.owner.signals.sources.host import Terminal
from p2pinfer.owner.signals.sources.in_use import UsersPresence
from p2pinfer.owner.signals.sources.system_bus import SystemBus
from p2pinfer.owner.signals.trouble import SourceError
from tests.owner.signals.buses import Daemon, Service, needs_dbus_daemon

LOGIND = "org.freedesktop.login1"
NOW = 10_000.0


@contextlib.asynccontextmanager
async def looking(address: str) -> AsyncIterator[UsersPresence]:
    looker = UsersPresence(idle_seconds=300.0, now=lambda: NOW, connect=partial(SystemBus.connected, address))
    try:
        yield looker
    finally:
        await looker.close()


@pytest.fixture
def log_in(monkeypatch, tmp_path):
    """Logins at terminals; none unless this is called. The machine keeps a list of logins."""
    monkeypatch.setattr(in_use, "_UTMP", tmp_path)

    def at(*terminals: Terminal) -> None:
        monkeypatch.setattr(in_use, "terminals", lambda: list(terminals))

    at()
    return at


def terminal(folder, *, read_at: float) -> Terminal:
    """A terminal that somebody has typed at, at this time."""
    device = folder / "pts0"
    device.touch()
    os.utime(device, (read_at, NOW))
    return Terminal("pts/0", str(device))


def session(**properties: object) -> dict[str, Variant]:
    """A graphical session in use, but for these properties."""
    usual = {
        "Class": "user",
        "Type": "wayland",
        "Active": True,
        "IdleHint": False,
        "LockedHint": False,
        "Name": "ada",
        "TTY": "",
    }
    return {
        name: Variant("b" if isinstance(value, bool) else "s", value)
        for name, value in {**usual, **properties}.items()
    }


def logind(*sessions: dict[str, Variant]) -> Service:
    """logind with these sessions, and one that has just ended."""
    paths = [f"/org/freedesktop/login1/session/_{number}" for number in range(len(sessions))]
    service = Service(
        LOGIND, {(path, f"{LOGIND}.Session"): one for path, one in zip(paths, sessions, strict=True)}
    )
    listed = [["1", 1000, "ada", "seat0", path] for path in [*paths, "/org/freedesktop/login1/session/gone"]]
    service.answers["ListSessions"] = ("a(susso)", [listed])
    return service


@pytest.mark.parametrize(("read_at", "used"), [(NOW - 12.0, True), (NOW - 301.0, False)])
async def test_input_at_a_terminal(tmp_path, log_in, read_at, used):
    log_in(terminal(tmp_path, read_at=read_at))
    async with looking(f"unix:path={tmp_path}/no-bus") as looker:
        told = await looker.look()
    assert told.value is used
    assert told.words == ("somebody typed at a terminal 12 s ago" if used else "nobody uses the machine")


async def test_without_any_bus_terminals_tell(tmp_path, log_in):
    log_in(terminal(tmp_path, read_at=NOW - 12.0))
    looker = UsersPresence(idle_seconds=300.0, now=lambda: NOW, connect=None)
    assert (await looker.look()).value is True
    await looker.close()


async def test_a_terminal_that_is_gone_is_nobody(tmp_path, log_in):
    log_in(Terminal("pts/0", str(tmp_path / "gone")))
    async with looking(f"unix:path={tmp_path}/no-bus") as looker:
        assert (await looker.look()).value is False


async def test_a_screen_that_nobody_can_ask_about_counts_as_used(tmp_path, log_in):
    log_in(Terminal(":0", ""))
    async with looking(f"unix:path={tmp_path}/no-bus") as looker:
        assert (await looker.look()).value is True


@needs_dbus_daemon
@pytest.mark.parametrize(
    ("one", "used"),
    [
        (session(), True),
        (session(Type="x11"), True),
        (session(IdleHint=True), False),
        (session(LockedHint=True), False),
        (session(Active=False), False),
        (session(Class="greeter"), False),
        (session(Type="unspecified"), False),
    ],
)
async def test_what_logind_says_of_a_session(tmp_path, log_in, one, used):
    async with Daemon(tmp_path).running() as daemon, logind(one).on(daemon.address):
        async with looking(daemon.address) as looker:
            told = await looker.look()
    assert told.value is used
    assert told.words == ("ada uses the machine" if used else "nobody uses the machine")


@needs_dbus_daemon
async def test_logind_knows_terminals_that_the_machines_list_does_not(tmp_path, log_in, monkeypatch):
    device = terminal(tmp_path, read_at=NOW - 5.0).device
    one = session(Type="tty", TTY=os.path.relpath(device, "/dev"))
    async with Daemon(tmp_path).running() as daemon, logind(one).on(daemon.address):
        async with looking(daemon.address) as looker:
            assert (await looker.look()).value is False  # a name that leads out of /dev is no terminal's
    one = session(Type="tty", TTY="null")
    monkeypatch.setattr(in_use.os, "stat", lambda path: os.stat_result((0,) * 7 + (NOW - 5.0, 0, 0)))
    async with Daemon(tmp_path).running() as daemon, logind(one).on(daemon.address):
        async with looking(daemon.address) as looker:
            assert (await looker.look()).words == "somebody typed at a terminal 5 s ago"


@needs_dbus_daemon
async def test_logind_that_comes_later_is_asked_then(tmp_path, log_in, monkeypatch):
    monkeypatch.setattr(in_use, "_AGAIN_SECONDS", 0.0)
    async with Daemon(tmp_path).running() as daemon, looking(daemon.address) as looker:
        assert (await looker.look()).value is False
        async with logind(session()).on(daemon.address):
            assert (await looker.look()).value is True
        assert (await looker.look()).value is False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the list of terminals is always there")
async def test_where_nothing_could_tell_nobody_is_not_said_to_be_there(log_in, monkeypatch, tmp_path):
    """As in a container: no list of logins, and no logind."""
    monkeypatch.setattr(in_use, "_UTMP", tmp_path / "absent")
    looker = UsersPresence(idle_seconds=300.0, now=lambda: NOW, connect=None)
    with pytest.raises(SourceError, match="this machine can't tell"):
        await looker.look()
    await looker.close()
