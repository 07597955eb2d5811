"""Each running server of a machine has an identity of its own, and finds it again after a restart."""

from __future__ import annotations

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.server.machine import identity_slots
from p2pinfer.server.machine.identity_slots import owned_identity


def test_servers_that_run_together_have_different_identities_and_keep_them(tmp_path):
    with owned_identity(None, tmp_path) as first, owned_identity(None, tmp_path) as second:
        assert first.peer_id != second.peer_id
    with owned_identity(None, tmp_path) as again:
        assert again.peer_id == first.peer_id


def test_a_key_file_that_is_named_is_used(tmp_path):
    with owned_identity(tmp_path / "mine.key", tmp_path) as first:
        pass
    with owned_identity(tmp_path / "mine.key", tmp_path) as again:
        assert again.peer_id == first.peer_id


def test_when_all_slots_are_taken_the_owner_is_asked_for_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(identity_slots, "MAX_SLOTS", 1)
    with owned_identity(None, tmp_path), pytest.raises(UsageError, match="give --identity FILE"):
        with owned_identity(None, tmp_path):
            pass


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="can't be written"), owned_identity(None, file):
        pass
