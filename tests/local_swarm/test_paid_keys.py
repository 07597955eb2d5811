"""The keys of local servers: kept, and never of two swarms at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pinfer.identity import Identity
from p2pinfer.local_swarm import paid_keys
from p2pinfer.local_swarm.paid_keys import PAYING, PaidKeys, paid_keys_folder
from p2pinfer.price import proof
from p2pinfer.price.kept import read_proof


def names(keys: PaidKeys, count: int) -> list[str]:
    return [keys.take().name for _ in range(count)]


def two_of(keys: PaidKeys) -> list[Path]:
    return [keys.take() for _ in range(2)]


def test_the_next_swarm_has_the_same_keys(tmp_path: Path) -> None:
    peers = []
    for _ in range(2):
        keys = PaidKeys(tmp_path / "kept", tmp_path / "own")
        peers.append([Identity.load_or_create(keys.take()).peer_id for _ in range(2)])
        keys.close()

    assert peers[0] == peers[1]
    assert len(set(peers[0])) == 2


def test_a_key_is_paid_when_it_is_taken_and_only_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, however many are paid."""
    monkeypatch.setattr(proof, "PRICE_BITS", 2)
    proofs = []
    for line in ([PAYING], []):
        said = list[str]()
        keys = PaidKeys(tmp_path / "kept", tmp_path / "own", said.append)
        proofs.append([read_proof(key, Identity.load_or_create(key).public_key) for key in two_of(keys)])
        keys.close()
        assert said == line

    assert proofs[0] == proofs[1]
    assert None not in proofs[0]


async def test_keys_can_be_taken_while_an_event_loop_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "PRICE_BITS", 2)
    keys = PaidKeys(None, tmp_path)

    assert names(keys, 1) == ["1.key"]
    keys.close()


def test_two_swarms_at_once_share_no_key(tmp_path: Path) -> None:
    first, second = (PaidKeys(tmp_path / "kept", tmp_path / "own") for _ in range(2))

    assert names(first, 2) == ["1.key", "2.key"]
    assert names(second, 1) == ["3.key"]
    first.close()
    assert names(second, 1) == ["1.key"]
    second.close()


def test_a_server_that_outlives_its_swarm_keeps_its_key(tmp_path: Path) -> None:
    """A swarm that was killed leaves its servers behind for a moment."""
    killed = PaidKeys(tmp_path / "kept", tmp_path / "own")
    key = killed.take()
    killed.close()
    with Identity.load_or_create(key).in_use():
        keys = PaidKeys(tmp_path / "kept", tmp_path / "own")
        assert names(keys, 1) == ["2.key"]
        keys.close()


def test_a_damaged_key_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "1.key").write_bytes(b"no key")
    keys = PaidKeys(tmp_path, tmp_path / "own")

    assert names(keys, 1) == ["2.key"]
    assert (tmp_path / "1.key").read_bytes() == b"no key"
    keys.close()


@pytest.mark.parametrize("trouble", ["no-folder", "a-file", "all-taken"])
def test_without_kept_keys_a_swarm_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    kept = None if trouble == "no-folder" else tmp_path / "kept"
    if trouble == "a-file":
        (tmp_path / "kept").write_text("")
    if trouble == "all-taken":
        monkeypatch.setattr(paid_keys, "MOST_KEYS", 0)
    keys = PaidKeys(kept, tmp_path / "own")

    assert names(keys, 2) == sorted(os.listdir(tmp_path / "own")) == ["1.key", "2.key"]
    keys.close()


def test_keys_are_kept_by_price_and_not_where_they_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paid_keys_folder() is None

    monkeypatch.setattr(paid_keys, "PRICE_BITS", 12)
    assert paid_keys_folder() == tmp_path / "p2pinfer" / "local-swarm" / "bits-12"
