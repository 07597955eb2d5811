"""The file of what servers did: shared by processes, harmless when it is spoiled or can't be written."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from p2pinfer.client.trust.kept import KeptReputations
from p2pinfer.client.trust.reputation import Offence, Reputation
from p2pinfer.client.trust.reputations import Reputations
from p2pinfer.types import PeerId

NOW = 1.7e9
A, B = PeerId("12D3KooWa"), PeerId("12D3KooWb")
KNOWN = Reputation().after_work(40, NOW)
BAD = Reputation().after(Offence.STALLED, NOW)


def test_what_one_process_learned_the_next_one_knows(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "servers.json"
    KeptReputations(path).exchange({A: KNOWN})
    assert KeptReputations(path).read() == {A: KNOWN}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_processes_learn_from_each_other(tmp_path: Path):
    one, other = KeptReputations(tmp_path / "servers.json"), KeptReputations(tmp_path / "servers.json")
    one.exchange({A: KNOWN})
    assert other.exchange({B: BAD}) == {A: KNOWN, B: BAD}
    assert one.exchange({A: KNOWN}) == {A: KNOWN, B: BAD}


def test_a_clock_that_was_years_ahead_spoils_no_memory(tmp_path: Path):
    """What was written then would count as newer than all that servers do from now on."""
    years_ahead = NOW + 3 * 365 * 86400
    once = Reputation().after_work(40, years_ahead).after(Offence.BUSY, years_ahead + 1)
    KeptReputations(tmp_path / "servers.json", now=lambda: years_ahead + 2).exchange({A: once, B: once})

    kept = KeptReputations(tmp_path / "servers.json", now=lambda: NOW)
    remembered = Reputations()
    remembered.merge(kept.read(), kept.now())
    remembered.offended(A, Offence.LIED, NOW)
    remembered.work(B, 40, NOW)
    remembered.merge(kept.exchange(remembered.known), kept.now())
    assert remembered.of(A).is_doubted(NOW + 1)
    assert remembered.of(B).is_known(NOW + 1)


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path):
    kept = KeptReputations(tmp_path / "servers.json")
    kept.exchange({A: KNOWN})
    before = kept.path.stat().st_ino
    kept.exchange({A: KNOWN})
    assert kept.path.stat().st_ino == before


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"version": 2, "servers": {}}', b"9" * 600_000],
    ids=["empty", "cut", "no text", "deep", "of another version", "huge"],
)
def test_a_spoiled_file_counts_as_empty_and_is_written_anew(tmp_path: Path, data: bytes):
    path = tmp_path / "servers.json"
    path.write_bytes(data)
    assert KeptReputations(path).read() == {}
    KeptReputations(path).exchange({A: KNOWN})
    assert KeptReputations(path).read() == {A: KNOWN}


def test_where_nothing_can_be_read_or_written_the_client_works_without(tmp_path: Path):
    """A folder is in the way of the file, and a pipe that nobody writes to."""
    (tmp_path / "folder").mkdir()
    assert KeptReputations(tmp_path / "folder").exchange({A: KNOWN}) == {A: KNOWN}
    os.mkfifo(tmp_path / "pipe")
    assert KeptReputations(tmp_path / "pipe").read() == {}
    (tmp_path / "file").touch()
    assert KeptReputations(tmp_path / "file" / "servers.json").exchange({A: KNOWN}) == {A: KNOWN}


def _add(path: str, number: int) -> None:
    for one in range(10):
        KeptReputations(Path(path)).exchange({PeerId(f"12D3KooW{number}x{one}"): KNOWN})


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path):
    path = tmp_path / "servers.json"
    processes = [
        multiprocessing.get_context("fork").Process(target=_add, args=(str(path), number))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(KeptReputations(path).read()) == 40
    assert sorted(one.name for one in tmp_path.iterdir()) == ["servers.json", "servers.lock"]
