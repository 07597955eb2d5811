"""Whole or not at all, for its owner only, and never over what is to be kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from p2pinfer.private_files import make_private_folder, write_private


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file"


def test_it_is_its_owners_alone(path):
    assert write_private(path, b"secret", replace=False)
    assert path.read_bytes() == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(("replace", "left"), [(False, b"first"), (True, b"second")])
def test_what_is_there_is_kept_unless_it_is_to_be_replaced(path, replace, left):
    write_private(path, b"first", replace=False)
    assert write_private(path, b"second", replace=replace, durable=False) is replace
    assert path.read_bytes() == left


@pytest.mark.parametrize(("there", "written"), [(True, False), (False, True)])
def test_a_file_system_without_hard_links_is_no_hindrance(path, monkeypatch, there, written):
    if there:
        write_private(path, b"first", replace=False)

    def refuse(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert write_private(path, b"second", replace=False) is written


def test_nothing_is_left_of_a_write_that_failed(path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        write_private(path, b"half", replace=True)
    assert list(path.parent.iterdir()) == []


def test_folders_are_private_under_any_umask_and_those_that_exist_stay_as_they_are(tmp_path: Path):
    """What this program makes it has to trust afterwards, also where others may usually write."""
    before = tmp_path.stat().st_mode
    umask = os.umask(0)
    try:
        write_private(tmp_path / "a" / "b" / "policy.toml", b"", replace=True)
        make_private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(umask)
    assert tmp_path.stat().st_mode == before
    for place in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_private_folder(tmp_path / "file")
