"""What a fetch leaves on disk, who else uses it, and what the disk itself may do."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.errors import StoreError, SwarmError
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.sharing.fetch.progress import Progress
from p2pinfer.sharing.files import part_files
from p2pinfer.sharing.files.part_file import PartFile, open_part, part_path
from tests.sharing.peers import MIB, QUICK, Peers, Valve, all_bytes, empty_store, random_store, same_files

LAYERS = (layer_file(0), layer_file(1))


async def test_what_came_before_a_cancellation_is_not_fetched_again(peers: Peers, tmp_path: Path):
    """No task, no lock and no open file is left; the part files are."""
    model = random_store(tmp_path / "model", [12 * MIB])
    valve = Valve(free_bytes=6 * MIB)
    seeder, joiner = await peers.add(model, gate=valve), await peers.add_empty(model)
    fetching = asyncio.create_task(joiner.fetch(seeder))
    await valve.is_empty.wait()
    descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching

    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    assert not [work for work in coroutines if "p2pinfer/sharing/fetch/" in str(getattr(work, "cr_code", ""))]
    part = open_part(joiner.store.folder, LAYERS[0], model.manifest.files[LAYERS[0]])
    assert part is not None
    assert len(part.good_chunks()) >= 1
    part.close()
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= descriptors
    valve.open()
    kept = len(joiner.holdings)
    summary = await joiner.fetch(seeder)
    assert same_files(model, joiner.store)
    assert kept >= 2 and summary.received_bytes <= all_bytes(joiner) - (kept - 2) * MIB


async def test_two_fetches_into_one_store_share_the_work(peers: Peers, tmp_path: Path):
    """Each file is fetched by one of them, and both have it."""
    model = random_store(tmp_path / "model", [2 * MIB, 2 * MIB, 2 * MIB])
    seeder = await peers.add(model)
    store = empty_store(tmp_path / "shared", model)
    one, other = await peers.add(store), await peers.add(store)

    first, second = await asyncio.gather(one.fetch(seeder), other.fetch(seeder))

    assert same_files(model, store)
    assert first.received_bytes + second.received_bytes == all_bytes(one)
    assert one.holdings.holds(model.manifest.files) and other.holdings.holds(model.manifest.files)


async def test_a_process_that_is_killed_leaves_its_files_to_the_one_that_waits(peers: Peers, tmp_path: Path):
    """The lock goes with the process."""
    model = random_store(tmp_path / "model", [2 * MIB])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)
    part = part_path(joiner.store.folder, LAYERS[0])
    part.parent.mkdir(parents=True)
    program = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'wb')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(part), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        others_done = asyncio.Event()

        def report(progress: Progress) -> None:
            if progress.total_bytes - progress.done_bytes == 2 * MIB:
                others_done.set()

        fetching = asyncio.create_task(joiner.fetch(seeder, report=report))
        await others_done.wait()
        assert not fetching.done()
    finally:
        process.kill()
        await process.wait()
    await fetching

    assert same_files(model, joiner.store)


@pytest.mark.parametrize("look_seconds", [0.0, 0.2])
async def test_a_process_that_holds_a_lock_and_does_nothing_is_not_waited_for_for_ever(
    peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_seconds: float
):
    """The error says that another process has the files. However long each look at the lock takes."""

    def look(*which: Any) -> PartFile | None:
        time.sleep(look_seconds)
        return open_part(*which)

    monkeypatch.setattr(part_files, "open_part", look)
    model = random_store(tmp_path / "model", [MIB])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)
    part = open_part(joiner.store.folder, LAYERS[0], model.manifest.files[LAYERS[0]])
    assert part is not None
    try:
        with pytest.raises(SwarmError, match="another process on this machine fetches 1 file, and hangs"):
            await joiner.fetch(seeder, settings=replace(QUICK, patience_seconds=2.0))
    finally:
        part.close()


async def test_a_full_disk_ends_the_fetch_and_keeps_what_came(
    peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The next try, with room, goes on."""
    model = random_store(tmp_path / "model", [6 * MIB])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)
    room = 4
    write = PartFile.write

    def write_if_room(self: PartFile, index: int, data: bytes) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, index, data)

    with monkeypatch.context() as patched:
        patched.setattr(PartFile, "write", write_if_room)
        with pytest.raises(StoreError, match=r"too full .* need [\d.]+ MB"):
            await joiner.fetch(seeder)
    kept = len(joiner.holdings)
    assert kept >= 3

    summary = await joiner.fetch(seeder)
    assert same_files(model, joiner.store)
    assert summary.received_bytes <= all_bytes(joiner) - (kept - 2) * MIB


async def test_a_disk_that_alters_what_is_written_is_noticed(
    peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Once: what is damaged is fetched again. Always: the fetch ends."""
    model = random_store(tmp_path / "model", [3 * MIB])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)
    write = PartFile.write
    spoilt = 1

    def spoil(self: PartFile, index: int, data: bytes) -> None:
        nonlocal spoilt
        if index == 1 and spoilt > 0:
            spoilt -= 1
            data = b"x" + data[1:]
        write(self, index, data)

    monkeypatch.setattr(PartFile, "write", spoil)
    summary = await joiner.fetch(seeder, names=LAYERS[:1])
    assert same_files(model, joiner.store, LAYERS[:1])
    assert summary.received_bytes == 4 * MIB

    spoilt = 10**6
    other = await peers.add_empty(model)
    with pytest.raises(StoreError, match="the disk alters what is written"):
        await other.fetch(seeder, names=LAYERS[:1])


async def test_only_a_few_files_are_open_at_a_time(peers: Peers, tmp_path: Path):
    """A model may have thousands."""
    model = random_store(tmp_path / "model", [1000] * 40)
    seeder, joiner = await peers.add(model), await peers.add_empty(model)

    await joiner.fetch(seeder, settings=replace(QUICK, open_files=3, locked_seconds=0.005))

    assert same_files(model, joiner.store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_disk_that_others_fill_meanwhile_ends_the_fetch(
    peers: Peers, tmp_path: Path, small_disk: Path
):
    """There was room when it began; when there is again, it goes on."""
    model = random_store(tmp_path / "model", [6 * MIB])
    valve = Valve(free_bytes=2 * MIB)
    seeder = await peers.add(model, gate=valve)
    joiner = await peers.add(empty_store(small_disk / "store", model))
    fetching = asyncio.create_task(joiner.fetch(seeder, names=[LAYERS[0]]))
    await valve.is_empty.wait()
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb") as file:
        file.write(b"x" * 8 * MIB)
    valve.open()

    with pytest.raises(StoreError, match=r"need [\d.]+ [kM]B, and .* has 0 B free"):
        await fetching
    filler.unlink()
    await joiner.fetch(seeder, names=[LAYERS[0]])
    assert same_files(model, joiner.store, [LAYERS[0]])


async def test_a_store_that_does_not_fit_is_refused_at_once(peers: Peers, tmp_path: Path, small_disk: Path):
    """Before any peer is asked."""
    model = random_store(tmp_path / "model", [9 * MIB])
    joiner = await peers.add(empty_store(small_disk / "store", model))

    with pytest.raises(StoreError, match="too full"):
        await joiner.fetch()
    assert list(small_disk.rglob("*.part")) == []
