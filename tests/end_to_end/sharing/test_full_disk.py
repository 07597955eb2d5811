"""A disk that fills up while files come, and one that was too small from the beginning."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.end_to_end.sharing.joining import (
    NAME,
    READY_SECONDS,
    bytes_that_came,
    check_files,
    fetched,
    launch,
    ready,
    said,
    until,
)

LAYERS = Span(2, 8)
MIB = 1 << 20
ROOM = 40 * MIB

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a small disk (tmpfs)"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with ROOM."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "p2pinfer-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave_free(disk: Path, free_bytes: int) -> Path:
    """Fill a disk with another program's file, which is returned."""
    other = disk / "other-program"
    stats = os.statvfs(disk)
    other.write_bytes(bytes(max(0, stats.f_bavail * stats.f_frsize - free_bytes)))
    return other


def test_a_full_disk_is_one_clear_line_and_the_next_try_goes_on(smollm2, disk):
    """Before anything comes, and in the middle; a server that has served pauses until there is room."""
    cache, share = disk / "cache", smollm2.layer_bytes(LAYERS)
    with LocalSwarm() as swarm:
        ready(launch(swarm, smollm2.folder, Span(0, 1), mbit_per_s=16))
        other = leave_free(disk, share // 2)
        joiner = launch(swarm, NAME, LAYERS, cache=cache, obeys_parked=True)
        data = swarm.data_folder(1)
        assert joiner.wait(READY_SECONDS) and joiner.returncode == 1
        assert joiner.lines[-1].startswith("p2pinfer.server: no room for 21 MB: the disk has 11 MB free")
        assert not any("Traceback" in line for line in joiner.lines)
        assert bytes_that_came(cache, smollm2) == 0

        other.unlink()
        joiner = swarm.restart(1)
        until(lambda: bytes_that_came(cache, smollm2) >= 5 * MIB, joiner)
        other = leave_free(disk, 3 * MIB)
        assert joiner.wait(READY_SECONDS) and joiner.returncode == 1
        assert joiner.lines[-1].startswith("p2pinfer.server: the disk is too full for the model's files: ")
        assert not any("Traceback" in line for line in joiner.lines)
        kept = bytes_that_came(cache, smollm2)
        store = LayerStore.open(fetched(cache, smollm2))
        whole = [layer for layer in range(2, 8) if store.has(layer_file(layer))]
        assert len(whole) < len(LAYERS)
        for layer in whole:
            store.verify(Span(layer, layer + 1))

        other.unlink()
        joiner = swarm.restart(1)
        begun = said(joiner, f"fetching layers 2:8 of {NAME}: ") if not whole else ""
        assert not begun or int(begun.split(": ")[1].partition("%")[0]) >= kept * 95 // share
        ready(joiner)
        check_files(cache, smollm2, LAYERS)

        # It has served: while it pauses, a file goes, and so does the room for it.
        (data / "parked").write_text("false")
        said(joiner, "paused: ")
        (fetched(cache, smollm2) / layer_file(2)).unlink()
        other = leave_free(disk, MIB)
        (data / "parked").write_text("true")
        line = said(joiner, "paused: no room for 3.6 MB")
        assert "trying again in" in line
        other.unlink()
        until(lambda: sum(line.startswith("ready: ") for line in joiner.lines) == 2, joiner)
        check_files(cache, smollm2, LAYERS)
