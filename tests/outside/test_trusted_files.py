"""Files that this program obeys: nobody else may have written them, and the message says how to see to it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.outside.trusted_files import check_only_ours, complaint, who_else_writes

ME = os.geteuid()
NOBODY_KNOWN = 3_999_999_999 % 2**31


def status(mode: int, *, uid: int = ME, gid: int = NOBODY_KNOWN) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "policy.toml"
    path.parent.mkdir(mode=0o755)
    path.write_text("")
    path.chmod(0o644)
    return path


def test_a_file_that_only_its_owner_writes_is_trusted(file: Path):
    assert who_else_writes(file) is None
    file.chmod(0o600)
    assert who_else_writes(file) is None
    check_only_ours(file, "the policy")


@pytest.mark.parametrize(("mode", "who"), [(0o646, "o"), (0o666, "g?o"), (0o602, "o")])
def test_a_file_that_everybody_may_write_is_refused_with_what_helps(file: Path, mode: int, who: str):
    file.chmod(mode)
    said = rf"the policy is not used: everybody may write .*policy\.toml.*: chmod {who}-w .*policy\.toml$"
    with pytest.raises(UsageError, match=said):
        check_only_ours(file, "the policy")


def test_a_folder_that_everybody_may_write_lets_them_replace_the_file(file: Path):
    """Unless it is like /tmp, where only owners may."""
    file.parent.chmod(0o757)
    said = who_else_writes(file) or ""
    assert "chmod o-w" in said and "replace what is in it" in said

    file.parent.chmod(0o1757)
    assert who_else_writes(file) is None


def test_folders_further_up_count_and_so_do_those_behind_a_link(file: Path, tmp_path: Path):
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    link = open_folder / "link.toml"
    link.symlink_to(file)
    assert who_else_writes(link) is None
    open_folder.chmod(0o777)
    assert "open" in (who_else_writes(link) or "")

    open_folder.chmod(0o755)
    file.parent.parent.chmod(0o777)
    assert who_else_writes(link) is not None
    file.parent.parent.chmod(0o700)


def test_another_users_file_is_refused_with_both_users_and_what_to_do():
    """As in a container that runs as root, with a folder of the host's user."""
    said = complaint(Path("/data/policy.toml"), status(stat.S_IFREG | 0o600, uid=NOBODY_KNOWN), 0) or ""
    assert said.startswith(
        f"/data/policy.toml belongs to user {NOBODY_KNOWN}, and this program runs as root (0)."
    )
    assert said.endswith("Run it as the owner, or take it over: chown 0 /data/policy.toml")


def test_another_users_folder_is_never_to_be_taken_over():
    """It may be a home: its owner couldn't log in any more."""
    said = complaint(Path("/home/alice"), status(stat.S_IFDIR | 0o755, uid=NOBODY_KNOWN), 0) or ""
    assert "chown" not in said and said.endswith("Run it as the owner, or keep the file in another folder")


def test_folders_above_the_home_do_not_count(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Some storage devices let everybody write the folder of all homes; the home itself does count."""
    tmp_path.chmod(0o777)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(tmp_path) in (who_else_writes(file) or "")
    monkeypatch.setenv("HOME", str(file.parent))
    assert who_else_writes(file) is None
    assert who_else_writes(tmp_path / "folder" / ".." / "folder" / "policy.toml") is None
    file.parent.chmod(0o757)
    assert who_else_writes(file) is not None
    tmp_path.chmod(0o700)


def test_a_group_that_only_this_process_has_is_trusted():
    """As a container's: its volume belongs to root and to a group that was made for it."""
    own = next(gid for gid in (os.getegid(), *os.getgroups()))
    mine = status(stat.S_IFDIR | 0o2775, uid=0, gid=own)
    shared = any(user.pw_gid == own and user.pw_uid not in (ME, 0) for user in pwd.getpwall())
    assert (complaint(Path("/data"), mine, ME) is not None) is shared


def test_roots_files_are_trusted_by_everybody():
    assert complaint(Path("/etc/policy.toml"), status(stat.S_IFREG | 0o644, uid=0), 1000) is None


def test_a_group_with_others_in_it_is_refused_by_name():
    said = complaint(Path("/a b/p"), status(stat.S_IFREG | 0o664), ME) or ""
    assert f"the group {NOBODY_KNOWN} may write /a b/p." in said and said.endswith("chmod g-w '/a b/p'")


def test_what_is_not_there_is_left_to_its_reader(tmp_path: Path):
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for path in (tmp_path / "none", circle, Path("\0")):
        assert who_else_writes(path) is None
