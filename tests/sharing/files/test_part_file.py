"""A part file outlives its process, belongs to one at a time, and becomes the file only if it is right."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.sharing.files.part_file import PartFile, open_part, part_path
from tests.sharing.peers import MIB, random_store

LAYER = layer_file(0)


class Fetched:
    """A file of a random store, and the folder to which it is fetched."""

    def __init__(self, tmp_path: Path, size: int = 3 * MIB + 5) -> None:
        model = random_store(tmp_path / "model", [size])
        self.entry = model.manifest.files[LAYER]
        self.data = (model.folder / LAYER).read_bytes()
        self.folder = tmp_path / "fetched"
        self.path = self.folder / LAYER

    def open(self) -> PartFile | None:
        return open_part(self.folder, LAYER, self.entry)

    def opened(self) -> PartFile:
        part = self.open()
        assert part is not None
        return part

    def chunk(self, index: int) -> bytes:
        return self.data[index * MIB : (index + 1) * MIB]


def test_chunks_in_any_order_become_the_file(tmp_path: Path):
    """The last chunk is shorter than the others."""
    fetched = Fetched(tmp_path)
    with closing(fetched.opened()) as part:
        for index in (3, 0, 2, 1):
            assert not part.finish()
            part.write(index, fetched.chunk(index))

        assert part.finish()
    assert fetched.path.read_bytes() == fetched.data
    assert not part_path(fetched.folder, LAYER).exists()


def test_what_came_is_found_again_by_its_hashes(tmp_path: Path):
    """After a kill nobody says what is right: a chunk that was half written isn't."""
    fetched = Fetched(tmp_path)
    with closing(fetched.opened()) as part:
        part.write(0, fetched.chunk(0))
        part.write(1, fetched.chunk(1)[: MIB // 2])
        part.write(3, fetched.chunk(3))

    with closing(fetched.opened()) as part:
        assert part.good_chunks() == [0, 3]


def test_an_empty_part_file_takes_no_room(tmp_path: Path):
    """It is sparse: a share of 50 GB isn't written twice."""
    fetched = Fetched(tmp_path)
    with closing(fetched.opened()) as part:
        status = part_path(fetched.folder, LAYER).stat()
        assert status.st_size == len(fetched.data)
        assert status.st_blocks * 512 < MIB
        assert part.good_chunks() == []


def test_a_part_file_of_another_size_is_made_to_fit(tmp_path: Path):
    """Whatever lies there: what fits the hashes is kept."""
    fetched = Fetched(tmp_path)
    path = part_path(fetched.folder, LAYER)
    path.parent.mkdir(parents=True)
    path.write_bytes(fetched.chunk(0) + b"?" * 5 * MIB)

    with closing(fetched.opened()) as part:
        assert part.good_chunks() == [0]
        assert path.stat().st_size == len(fetched.data)


def test_one_fetches_a_file_at_a_time(tmp_path: Path):
    """Also within one process."""
    fetched = Fetched(tmp_path)
    with closing(fetched.opened()):
        assert fetched.open() is None

    with closing(fetched.opened()):
        pass


def test_the_lock_of_a_process_ends_with_it(tmp_path: Path):
    """A process that is killed leaves its part file to the next one, which goes on with it."""
    fetched = Fetched(tmp_path)
    fetched.opened().close()
    program = (
        "import fcntl, os, sys, time\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(part_path(fetched.folder, LAYER))], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"locked\n"
            assert fetched.open() is None
        finally:
            process.kill()

    with closing(fetched.opened()):
        pass


def test_who_waited_for_the_lock_does_not_mistake_the_finished_file_for_a_part(tmp_path: Path):
    """The file has its name by then: writing to it would spoil it."""
    fetched = Fetched(tmp_path, size=MIB)
    with closing(fetched.opened()) as part:
        part.write(0, fetched.chunk(0))
        assert part.finish()

    with closing(fetched.opened()) as part:
        part.write(0, b"x" * MIB)
        assert fetched.path.read_bytes() == fetched.data
        part.discard()
    assert fetched.path.exists() and not part_path(fetched.folder, LAYER).exists()
