"""A peer's identity: its key, its file, its signatures."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.identity import (
    Identity,
    peer_id_from_bytes,
    peer_id_of,
    peer_id_to_bytes,
    public_key_of,
    verify,
)


@pytest.fixture
def identity() -> Identity:
    return Identity.ephemeral()


def test_the_same_file_gives_the_same_peer(tmp_path: Path) -> None:
    first = Identity.load_or_create(tmp_path / "deep" / "identity")
    second = Identity.load_or_create(tmp_path / "deep" / "identity")

    assert first.peer_id == second.peer_id
    assert first.peer_id.startswith("12D3Koo")


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path / "identity")

    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["identity"]  # no temporary file stays


def test_two_that_create_the_file_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        peers = set(pool.map(lambda _: Identity.load_or_create(tmp_path / "identity").peer_id, range(8)))

    assert len(peers) == 1


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"\x08\x00" + b"x" * 66, b"\x08\x01\x12\x40" + b"x" * 64]
)
def test_a_damaged_file_is_named_and_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=r"identity file .*identity.*(restore|delete)"):
        Identity.load_or_create(path)
    assert path.read_bytes() == content


def test_a_file_that_cant_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        Identity.load_or_create(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't be (read|written)"):
        Identity.load_or_create(tmp_path / "file" / "identity")


def test_a_signature_holds_for_its_key_and_data_only(identity: Identity) -> None:
    signature = identity.sign(b"data")

    assert verify(identity.public_key, b"data", signature)
    assert not verify(identity.public_key, b"date", signature)
    assert not verify(Identity.ephemeral().public_key, b"data", signature)
    assert not verify(b"", b"data", signature)
    assert not verify(identity.public_key, b"data", b"")


def test_the_peer_id_holds_the_public_key(identity: Identity) -> None:
    assert peer_id_of(identity.public_key) == identity.peer_id
    assert public_key_of(identity.peer_id) == identity.public_key
    assert peer_id_from_bytes(peer_id_to_bytes(identity.peer_id)) == identity.peer_id


@given(st.text(max_size=80))
def test_no_other_text_is_a_peer_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"peer id|[Ii]nvalid|encode"):
        peer_id_to_bytes(text)


def test_the_private_key_is_never_shown(identity: Identity) -> None:
    assert identity.to_bytes()[4:36].hex() not in repr(identity)
    assert repr(identity) == f"Identity({identity.peer_id})"


def test_one_file_serves_one_process_at_a_time(tmp_path: Path) -> None:
    identity = Identity.load_or_create(tmp_path / "identity")
    program = (
        "import sys\nfrom p2pinfer.identity import Identity\nfrom p2pinfer.errors import UsageError\n"
        "try:\n    with Identity.load_or_create(sys.argv[1]).in_use(): print('free')\n"
        "except UsageError as error: print(error)"
    )

    def ask() -> str:
        command = [sys.executable, "-c", program, str(tmp_path / "identity")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with identity.in_use():
        assert "in use by another peer" in ask()
    assert ask() == "free\n"
