"""Stores are removed whole or not at all, and never anything else."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.sharing.disk import removal
from p2pinfer.sharing.disk.removal import LEFTOVER_SECONDS, prune, remove_leftovers, remove_store
from p2pinfer.sharing.disk.shelf import list_stores
from p2pinfer.sharing.disk.use import using
from tests.sharing.disk.stores import manifest_of, mark, put_fetched, put_store

ROOT = Path(__file__).parents[3]
NOW = 1_800_000_000.0
LONG_AGO = NOW - LEFTOVER_SECONDS - 1


def names(cache: Path) -> list[str]:
    return sorted(store.name for store in list_stores(cache))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three stores; `c` was used last."""
    folder = tmp_path / "cache"
    for seed, name in enumerate("abc"):
        mark(put_fetched(folder, name, seed), used_at=100.0 + seed)
    return folder


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(removal, "_free_bytes", lambda folder: free)


def test_without_a_budget_stores_go_only_when_the_disk_has_no_room(cache: Path, monkeypatch):
    assert prune(cache, needed_bytes=1) == []
    size = list_stores(cache)[0].bytes_on_disk
    frees = iter([0, size])  # as the disk says it before and after
    monkeypatch.setattr(removal, "_free_bytes", lambda folder: next(frees))

    assert [store.name for store in prune(cache, needed_bytes=size)] == ["a"]
    assert names(cache) == ["b", "c"]
    assert not (cache / "stores" / manifest_of("a", 0).hash).exists()


def test_a_budget_is_kept(cache: Path):
    size = list_stores(cache)[0].bytes_on_disk

    assert [store.name for store in prune(cache, budget_bytes=2 * size)] == ["a"]
    assert prune(cache, budget_bytes=2 * size) == []
    assert [store.name for store in prune(cache, budget_bytes=0)] == ["b", "c"]
    assert list((cache / "stores").iterdir()) == []


def test_a_dry_run_removes_nothing(cache: Path):
    assert len(prune(cache, budget_bytes=0, dry_run=True)) == 3
    assert names(cache) == ["a", "b", "c"]


def test_what_is_in_use_stays(cache: Path):
    (used,) = (store for store in list_stores(cache) if store.name == "a")
    with using(cache, used.path):
        assert not remove_store(cache, used.path)
        with pytest.raises(StoreError, match=r"a \(.*in use\)"):
            prune(cache, budget_bytes=0)
        assert [store.name for store in prune(cache, budget_bytes=used.bytes_on_disk)] == ["b", "c"]
    assert names(cache) == ["a"]


def test_what_begins_to_be_used_meanwhile_stays_and_another_goes(cache: Path, monkeypatch):
    """Between the plan and the deed."""
    a, b, _ = sorted(list_stores(cache), key=lambda store: store.name)
    plan = removal.plan_pruning
    users = []

    def planning(*args, **settings):
        paths = plan(*args, **settings)
        if not users:
            users.append(using(cache, a.path))
            users[0].__enter__()
        return paths

    monkeypatch.setattr(removal, "plan_pruning", planning)
    assert [store.path for store in prune(cache, budget_bytes=2 * a.bytes_on_disk)] == [b.path]
    assert names(cache) == ["a", "c"]
    users[0].__exit__(None, None, None)


def test_what_cannot_be_removed_is_named(cache: Path, monkeypatch):
    monkeypatch.setattr(removal, "remove_store", lambda *folders: False)

    with pytest.raises(StoreError, match="can't be removed"):
        prune(cache, budget_bytes=0)


def test_nothing_outside_of_the_cache_is_ever_removed(cache: Path, tmp_path: Path):
    put_store(tmp_path / "mine", "mine", 9)
    (cache / "link").symlink_to(tmp_path / "mine")
    (cache / "below").mkdir()
    put_store(cache / "below" / "deeper", "deeper", 8)
    for folder in (
        tmp_path / "mine",
        cache / "link",
        cache,
        cache / "below" / "deeper",
        cache / "stores" / "..",
    ):
        assert not remove_store(cache, folder)
    shutil.rmtree(cache / "stores")
    (cache / "stores").symlink_to(tmp_path)
    assert not remove_store(cache, cache / "stores" / "mine")
    assert prune(cache, budget_bytes=0) == []
    assert (tmp_path / "mine" / layer_file(0)).exists()


def test_links_in_a_store_are_removed_and_not_what_they_lead_to(cache: Path, tmp_path: Path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    folder = put_fetched(cache, "d", 4)
    (folder / "extra").symlink_to(tmp_path / "precious")

    assert remove_store(cache, folder)
    assert (tmp_path / "precious" / "file").read_text() == "mine"


def test_a_kill_half_way_leaves_no_store_and_the_next_one_cleans_up(cache: Path, monkeypatch):
    def killed(*args, **settings):
        raise KeyboardInterrupt

    (first, *_) = list_stores(cache)
    with monkeypatch.context() as patch:
        patch.setattr(removal.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_store(cache, first.path)
    assert len(list_stores(cache)) == 2
    assert len(list((cache / "stores").iterdir())) == 3
    prune(cache)
    assert len(list((cache / "stores").iterdir())) == 2


def test_parts_that_nobody_goes_on_with_are_removed_after_weeks(cache: Path):
    folder = list_stores(cache)[0].path
    old, fresh = folder / "layers" / "00000.safetensors.part", folder / "layers" / "00001.safetensors.part"
    for path, at in ((old, LONG_AGO), (fresh, NOW - 3600)):
        path.write_bytes(b"x")
        os.utime(path, (at, at))
    with using(cache, folder):
        assert remove_leftovers(cache, now=NOW) == 0
    assert remove_leftovers(cache, now=NOW) == 1
    assert not old.exists() and fresh.exists()
    assert len(list_stores(cache)) == 3


def test_conversions_that_nobody_goes_on_with_are_removed_after_weeks(cache: Path):
    unfinished = cache / ".smol-1.unfinished"
    (unfinished / "layers").mkdir(parents=True)
    for path in (unfinished / "layers", unfinished):
        os.utime(path, (LONG_AGO, LONG_AGO))
    with (cache / ".smol-1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_leftovers(cache, now=NOW) == 0
    os.utime(unfinished, (NOW, NOW))
    assert remove_leftovers(cache, now=NOW) == 0
    os.utime(unfinished, (LONG_AGO, LONG_AGO))
    assert remove_leftovers(cache, now=NOW) == 1
    assert not unfinished.exists()


def test_what_is_no_store_of_ours_keeps_its_parts(cache: Path):
    (cache / "stranger").mkdir()
    (cache / "stranger" / "film.part").write_bytes(b"x")
    os.utime(cache / "stranger" / "film.part", (LONG_AGO, LONG_AGO))

    assert remove_leftovers(cache, now=NOW) == 0


def test_a_folder_that_is_not_there_needs_no_pruning(tmp_path: Path):
    assert prune(tmp_path / "none", needed_bytes=1) == []
    assert not (tmp_path / "none").exists()


def test_two_programs_that_make_room_remove_no_more_than_needed(cache: Path):
    size = list_stores(cache)[0].bytes_on_disk
    program = (
        "import sys; from pathlib import Path; from p2pinfer.sharing.disk.removal import prune\n"
        "print(len(prune(Path(sys.argv[1]), budget_bytes=int(sys.argv[2]))))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, cache, str(2 * size)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert sorted(printed) == ["0", "1"]
    assert names(cache) == ["b", "c"]


def test_a_program_that_hangs_while_it_makes_room_is_not_waited_for_forever(cache: Path, monkeypatch):
    monkeypatch.setattr(removal, "_WAIT_SECONDS", 0.05)
    with (cache / removal._LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        assert len(prune(cache, budget_bytes=0)) == 3
    assert time.monotonic() - began < 10
