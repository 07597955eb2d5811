"""Each swarm's files are its own, one page at a time holds them, and a report changes nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.health.kept.keeping import copied, keeping
from p2pinfer.health.snapshot.state import Sample

MODEL = "ab" * 32
NOW = 1_800_000_000.0
SAMPLE = Sample(
    at=NOW, servers=1, weakest_replicas=1, swarm_tokens_per_second=1.0, probe_tokens_per_second=None
)


def peers(*names: str) -> list[str]:
    """Addresses of these peers, at some place."""
    return [f"/ip4/192.0.2.{number}/tcp/4001/p2p/{name}" for number, name in enumerate(names, start=1)]


def remember(root: Path, addresses: Iterable[str]) -> None:
    """Let a page of this swarm keep a sample."""
    with keeping(root, list(addresses)) as (history, _):
        assert history.add(MODEL, SAMPLE)


def remembers(root: Path, addresses: Iterable[str]) -> bool:
    """True if a page of this swarm finds the sample."""
    with keeping(root, list(addresses)) as (history, _):
        return bool(history.samples(MODEL, since=0.0))


def test_two_swarms_in_one_folder_know_nothing_of_each_other(tmp_path: Path):
    remember(tmp_path, peers("A", "B"))
    assert not remembers(tmp_path, peers("C"))
    assert remembers(tmp_path, peers("A", "B"))


@pytest.mark.parametrize(
    "again", [["A"], ["B", "A"], ["new", "B"], ["A", "new", "newer"]], ids=lambda names: " ".join(names)
)
def test_a_swarm_is_known_again_by_any_peer_that_it_was_joined_through(tmp_path: Path, again: list[str]):
    """In any order, at another address, and with peers that are new."""
    remember(tmp_path, peers("A", "B"))
    moved = [address.replace("/ip4/192.0.2.", "/dns4/host-") for address in peers(*again)]
    assert remembers(tmp_path, moved)


def test_a_swarm_keeps_its_files_while_its_bootstrap_peers_change_one_by_one(tmp_path: Path):
    remember(tmp_path, peers("A", "B"))
    assert remembers(tmp_path, peers("B", "C"))
    assert remembers(tmp_path, peers("C", "D"))
    assert remembers(tmp_path, peers("D"))
    assert not remembers(tmp_path, peers("E"))


def test_a_second_page_of_the_same_swarm_is_refused_and_one_of_another_swarm_is_not(tmp_path: Path):
    with keeping(tmp_path, peers("A")):
        with pytest.raises(UsageError, match=r"another page of this swarm keeps its files in .*swarm-"):
            remember(tmp_path, peers("A", "B"))
        remember(tmp_path, peers("C"))
    remember(tmp_path, peers("A"))  # the lock went with the page


def test_a_page_that_was_killed_locks_nobody_out(tmp_path: Path):
    program = (
        "import os, sys, pathlib\n"
        "from p2pinfer.health.kept.keeping import keeping\n"
        "with keeping(pathlib.Path(sys.argv[1]), sys.argv[2:]):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path), *peers("A")], check=False)
    assert (tmp_path / os.listdir(tmp_path)[0] / "lock").exists()
    remember(tmp_path, peers("A"))


def test_a_report_beside_a_page_reads_its_board_and_writes_nothing(tmp_path: Path):
    with keeping(tmp_path, peers("A")) as (history, contributions):
        board = contributions.views({})
        history.add(MODEL, SAMPLE)
        with copied(tmp_path, peers("A")) as (copy_of_history, copy):
            assert copy.views({}) == board
            copy_of_history.add(MODEL, SAMPLE)
        assert len(history.samples(MODEL, since=0.0)) == 1


def test_a_report_without_a_page_makes_no_folder(tmp_path: Path):
    with copied(tmp_path / "none", peers("A")) as (_, contributions):
        assert contributions.views({}) == []
    assert list(tmp_path.iterdir()) == []


def test_a_report_does_without_a_board_that_is_damaged(tmp_path: Path, caplog):
    remember(tmp_path, peers("A"))
    [folder] = tmp_path.iterdir()
    (folder / "contributions.sqlite").write_bytes(b"no database" * 100)
    with copied(tmp_path, peers("A")) as (_, contributions):
        assert contributions.views({}) == []
    assert "the report has no leaderboard" in caplog.text


def test_files_of_an_earlier_version_are_left_alone_and_named(tmp_path: Path, caplog):
    """They belonged to all swarms at once: another swarm's board must not appear."""
    sqlite3.connect(tmp_path / "contributions.sqlite").close()
    (tmp_path / "contributions.sqlite").write_bytes(b"older")
    remember(tmp_path, peers("A"))
    assert "holds files of an earlier version, which are not used: move contributions" in caplog.text
    assert (tmp_path / "contributions.sqlite").read_bytes() == b"older"


@pytest.mark.parametrize("name", ["", " ", "../../x", "\n", "é" * 300, "A\nB"])
def test_odd_peer_ids_stay_inside_the_folder(tmp_path: Path, name: str):
    """Addresses are checked when the swarm is joined, which comes later."""
    remember(tmp_path / "root", [f"/ip4/192.0.2.1/tcp/1/p2p/{name}"])
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--data-folder .*file.*choose another"):
        remember(tmp_path / "file", peers("A"))
