"""Which stores a cache folder has, whatever else lies there, and who uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.names import CONFIG_FILE, MANIFEST_FILE, layer_file
from p2pinfer.sharing.disk.shelf import find, list_stores
from p2pinfer.sharing.disk.use import USED_FILE, is_shelved, is_used, unused, using
from tests.sharing.disk.stores import LAYER_BYTES, manifest_of, mark, put_fetched, put_store

ROOT = Path(__file__).parents[3]


def test_conversions_and_fetched_stores_are_found(tmp_path: Path):
    converted = put_store(tmp_path / "smol-123", "smol", 1)
    folder = put_fetched(tmp_path, "qwen", 2, files=(CONFIG_FILE, layer_file(1)))
    mark(folder, used_at=1000.0, made_at=500.0)
    fetched, smol = list_stores(tmp_path)

    assert (smol.path, smol.hash, smol.name) == (tmp_path / "smol-123", converted.hash, "smol")
    assert smol.is_complete and not smol.is_used
    assert 4 * LAYER_BYTES <= smol.bytes_on_disk < 5 * LAYER_BYTES
    assert (fetched.path, fetched.name, fetched.is_complete) == (folder, "qwen", False)
    assert (fetched.last_used, fetched.made_at) == (1000.0, 500.0)
    assert fetched.bytes_on_disk < 3 * LAYER_BYTES
    assert find(tmp_path, converted.hash) == smol.path
    assert find(tmp_path, fetched.hash) == folder
    assert find(tmp_path, "0" * 64) is None


def test_of_two_stores_of_a_hash_the_more_complete_is_taken(tmp_path: Path):
    part = put_fetched(tmp_path, files=(CONFIG_FILE,))
    put_store(tmp_path / "whole")
    model = manifest_of("x", 0).hash

    assert find(tmp_path, model) == tmp_path / "whole"
    (tmp_path / "whole" / layer_file(0)).unlink()
    put_store(tmp_path / "a")
    assert find(tmp_path, model) == tmp_path / "a"
    assert part.is_dir()


def test_a_folder_that_is_not_there_has_no_stores(tmp_path: Path):
    assert list_stores(tmp_path / "none") == []
    assert find(tmp_path / "none", "0" * 64) is None


def test_holes_in_files_take_no_room(tmp_path: Path):
    put_store(tmp_path / "store")
    os.truncate(tmp_path / "store" / layer_file(0), 0)
    with (tmp_path / "store" / f"{layer_file(0)}.part").open("wb") as file:
        file.truncate(1 << 40)

    assert list_stores(tmp_path)[0].bytes_on_disk < 5 * LAYER_BYTES


def test_junk_is_passed_over(tmp_path: Path):
    good = put_store(tmp_path / "good")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    put_store(elsewhere, "y", 5)
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "stores").symlink_to(elsewhere)
    (tmp_path / "file").write_text("")
    for name, text in [("empty", ""), ("text", "hello"), ("list", "[]"), ("deep", "[" * 100_000)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST_FILE).write_text(text)
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / MANIFEST_FILE).write_bytes(b"\xff\xfe")
    for name in ("pipe", "folder", "manifest-link", "forged"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / MANIFEST_FILE)
    (tmp_path / "folder" / MANIFEST_FILE).mkdir()
    (tmp_path / "manifest-link" / MANIFEST_FILE).symlink_to(elsewhere / MANIFEST_FILE)
    (tmp_path / "forged" / MANIFEST_FILE).write_text(
        good.to_json().replace('"bytes": 65536', '"bytes": 65537', 1)
    )
    put_store(tmp_path / ".x.unfinished", "z", 6)

    found = {store.path.name: store.is_unreadable for store in list_stores(tmp_path)}
    assert found == {"good": False, "forged": True}
    assert find(tmp_path, good.hash) == tmp_path / "good"
    assert find(tmp_path, manifest_of("y", 5).hash) is None


def test_a_store_of_another_version_is_listed_as_unreadable(tmp_path: Path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / MANIFEST_FILE).write_text(
        '{"manifest": 1, "format": "p2pinfer-int8-2", "hash": "aa", "name": "smol\\u001b"}'
    )
    (store,) = list_stores(tmp_path)

    assert (store.is_unreadable, store.is_complete, store.hash, store.name) == (True, False, "aa", "smol?")


def test_a_store_is_in_use_for_as_long_as_a_program_uses_it(tmp_path: Path):
    folder = put_fetched(tmp_path)
    mark(folder, used_at=1000.0)
    with ExitStack() as users:
        users.enter_context(using(tmp_path, folder))
        with using(tmp_path, folder):
            assert is_used(folder)
        assert is_used(folder)
        with unused(folder) as free:
            assert not free
        assert list_stores(tmp_path)[0].is_used

    assert not is_used(folder)
    assert list_stores(tmp_path)[0].last_used > 1000.0
    with unused(folder) as free:
        assert free


def test_a_program_that_is_killed_uses_nothing_any_more(tmp_path: Path):
    folder = put_fetched(tmp_path)
    program = (
        "import sys, time; from pathlib import Path; from p2pinfer.sharing.disk.use import using\n"
        "with using(Path(sys.argv[1]), Path(sys.argv[2])): print('using', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path, folder],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"using\n"
        assert is_used(folder)
    finally:
        process.kill()
        process.communicate()

    assert not is_used(folder)


def test_a_store_elsewhere_is_left_alone(tmp_path: Path):
    cache = tmp_path / "cache"
    cache.mkdir()
    put_store(tmp_path / "mine")
    (cache / "link").symlink_to(tmp_path / "mine")
    for folder in (tmp_path / "mine", cache / "link", cache, cache / "none"):
        assert not is_shelved(cache, folder)
        with using(cache, folder):
            pass
    assert not (tmp_path / "mine" / USED_FILE).exists()


def test_a_cache_by_way_of_a_link_is_that_cache(tmp_path: Path):
    folder = put_fetched(tmp_path / "real")
    (tmp_path / "cache").symlink_to(tmp_path / "real")

    assert is_shelved(tmp_path / "cache", folder)
    assert is_shelved(tmp_path / "real", tmp_path / "cache" / "stores" / folder.name)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null"), Path.mkdir])
def test_what_stands_in_the_place_of_the_mark_stops_nothing(tmp_path: Path, make):
    folder = put_fetched(tmp_path)
    make(folder / USED_FILE)
    with using(tmp_path, folder):
        list_stores(tmp_path)


def test_who_comes_while_a_store_goes_learns_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = put_fetched(tmp_path)
    monkeypatch.setattr("p2pinfer.sharing.disk.use._WAIT_SECONDS", 0.05)
    with unused(folder) as free:
        assert free
        with pytest.raises(StoreError, match="is being removed by another program"):
            with using(tmp_path, folder):
                pass
