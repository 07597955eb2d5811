"""Where a user's files live."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.folders import user_cache_folder, user_data_folder

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's folders")
def test_on_linux_they_are_where_the_xdg_specification_has_them():
    assert user_cache_folder() == Path("/home/someone/.cache/p2pinfer")
    assert user_data_folder() == Path("/home/someone/.local/share/p2pinfer")


def test_the_environment_moves_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast/cache")
    monkeypatch.setenv("XDG_DATA_HOME", "/safe/data")

    assert user_cache_folder() == Path("/fast/cache/p2pinfer")
    assert user_data_folder() == Path("/safe/data/p2pinfer")


@pytest.mark.parametrize("value", ["", "here", "~/here", " /here"])
def test_a_relative_folder_in_the_environment_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch):
    """The XDG specification asks for that."""
    cache, data = user_cache_folder(), user_data_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("XDG_DATA_HOME", value)

    assert (user_cache_folder(), user_data_folder()) == (cache, data)


def test_on_macos_they_are_in_the_library():
    """With platformdirs' own idea of macOS, chosen when it is imported."""
    program = (
        "import sys; sys.platform = 'darwin'\n"
        "from p2pinfer.folders import user_cache_folder, user_data_folder\n"
        "print(user_cache_folder(), user_data_folder(), sep='\\n')"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert printed.splitlines() == [
        "/home/someone/Library/Caches/p2pinfer",
        "/home/someone/Library/Application Support/p2pinfer",
    ]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch):
    """As in a container that runs as a user whom nobody knows."""

    def no_home(*_: object, **__: object) -> None:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_data_path", no_home)
    monkeypatch.setattr("platformdirs.user_cache_path", no_home)
    with pytest.raises(UsageError, match="set HOME, or XDG_DATA_HOME"):
        user_data_folder()
    with pytest.raises(UsageError, match="set HOME, or XDG_CACHE_HOME"):
        user_cache_folder()
