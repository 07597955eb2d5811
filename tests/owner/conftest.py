"""What the tests of several rooms need."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder with the secret files that the policies of `init` name."""
    (tmp_path / "mqtt-password.txt").write_text("secret")
    (tmp_path / "home-assistant-token.txt").write_text("secret")
    return tmp_path


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine as in a container: no D-Bus, so neither logind nor NetworkManager, and no list of logins."""
    monkeypatch.setattr("p2pinfer.owner.signals.sources.in_use._UTMP", tmp_path / "absent")
    monkeypatch.setattr("p2pinfer.owner.signals.sources.in_use.terminals", list)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/absent")


@pytest.fixture
def full_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that can tell everything that a policy of `init` asks it for."""
    monkeypatch.setattr("p2pinfer.owner.commands.init.what_this_machine_cannot_tell", lambda kind: {})
