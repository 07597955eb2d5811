"""A disk that is too full is noticed before a fetch, or with the first write that fails."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.sharing.files.part_file import open_part
from p2pinfer.sharing.files.room import check_room, needed_bytes, writing
from tests.sharing.peers import MIB, empty_store, random_store

LAYER = layer_file(0)


def test_what_lies_in_a_part_file_needs_no_more_room(tmp_path: Path):
    """A fetch that is resumed on a nearly full disk can go on."""
    model = random_store(tmp_path / "model", [3 * MIB])
    store = empty_store(tmp_path / "empty", model)
    assert needed_bytes(store, [LAYER]) == 3 * MIB
    part = open_part(store.folder, LAYER, model.manifest.files[LAYER])
    assert part is not None
    part.write(1, b"x" * MIB)
    part.close()

    assert 2 * MIB - 65536 <= needed_bytes(store, [LAYER]) <= 2 * MIB
    assert needed_bytes(model, [LAYER]) == 0


def test_a_fetch_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The error says how much is needed, and how much is there."""
    model = random_store(tmp_path / "model", [3 * MIB])
    store = empty_store(tmp_path / "empty", model)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1234567))

    with pytest.raises(StoreError, match=r"need 3.1 MB, and .* has 1.2 MB free"):
        check_room(store, [LAYER])


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "too full"), (errno.EACCES, "can't be written")]
)
def test_a_failed_write_is_an_error_of_the_store(tmp_path: Path, number: int, words: str):
    """Not a traceback."""
    model = random_store(tmp_path / "model", [1])
    with pytest.raises(StoreError, match=words), writing(model, [LAYER]):
        raise OSError(number, "no")
