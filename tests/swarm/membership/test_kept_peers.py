"""The file of whom programs knew: harmless when it is spoiled or can't be written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.coordinates.position import Whereabouts
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.coordinates.vivaldi import Coordinate
from p2pinfer.swarm.membership.kept_peers import KeptPeers
from p2pinfer.swarm.membership.known_peers import KnownPeer

NOW = 1.8e9
ONE, OTHER = (Identity.ephemeral().peer_id for _ in range(2))
PEERS = {OTHER: KnownPeer(maddrs=("/ip4/192.0.2.1/tcp/1",), first_seen=NOW, last_seen=NOW)}


def kept_in(path: Path) -> KeptPeers:
    return KeptPeers(path, now=lambda: NOW)


def test_whom_one_process_knew_the_next_one_knows(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "peers.json"
    kept_in(path).add({ONE}, PEERS)
    assert kept_in(path).read({ONE}) == PEERS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"version": 2, "swarms": []}', b"9" * 600_000],
    ids=["empty", "cut", "no text", "deep", "of another version", "huge"],
)
def test_a_spoiled_file_counts_as_empty_and_is_written_anew(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(data)
    assert kept_in(path).read({ONE}) == {}
    kept_in(path).add({ONE}, PEERS)
    assert kept_in(path).read({ONE}) == PEERS


def test_where_nothing_can_be_read_or_written_nothing_is_known(tmp_path: Path) -> None:
    """A folder is in the way of the file, a file in the way of the folder, and a pipe."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / "peers.json"):
        kept_in(path).add({ONE}, PEERS)
        assert kept_in(path).read({ONE}) == {}
    assert kept_in(tmp_path / "pipe").read({ONE}) == {}


def test_who_begins_a_swarm_leaves_no_file(tmp_path: Path) -> None:
    kept_in(tmp_path / "peers.json").add(set(), PEERS)
    assert list(tmp_path.iterdir()) == []


def test_the_place_in_a_swarm_is_kept_beside_the_peers(tmp_path: Path) -> None:
    here = Whereabouts(
        point=Coordinate(x=0.03), doubt_seconds=0.01, announced=Quantized(x=45, y=42, height=0)
    )
    path = tmp_path / "peers.json"
    assert kept_in(path).whereabouts({ONE}) is None
    kept_in(path).add({ONE}, PEERS, here)
    assert kept_in(path).whereabouts({ONE}) == here
    assert kept_in(path).whereabouts({OTHER}) is None
