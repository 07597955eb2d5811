"""One process that tries inputs, and how others see where it is: it may crash or hang at any of them."""

from __future__ import annotations

import logging
import mmap
import resource
import signal
import struct
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.all_readers import READERS
from tests.fuzz.reader import Reader
from tests.fuzz.spoiling.spoiler import Spoiler
from tests.fuzz.trying import Culprit, tried

MOST_MEMORY_BYTES = 1 << 30
"""More than that beside what the process had before makes a MemoryError, which counts as a defect."""

_NOTE = struct.Struct("<QQ")
_NOTE_BYTES = 1 << 20


class Note:
    """The number and the bytes of the input whose turn it is, in a file that outlives the process."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_NOTE_BYTES))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _NOTE_BYTES)

    def note(self, number: int, data: bytes) -> None:
        """Keep what is tried now; of a very long input the beginning."""
        kept = data[: _NOTE_BYTES - _NOTE.size]
        self._memory[: _NOTE.size + len(kept)] = _NOTE.pack(number, len(kept)) + kept

    def read(self) -> Culprit:
        """What was noted last."""
        number, length = _NOTE.unpack_from(self._memory)
        return Culprit(number, self._memory[_NOTE.size : _NOTE.size + length])


def work(blocks: Connection, note_path: Path, seed: int) -> None:
    """Try blocks of inputs, (reader, first number, how many), until None comes; answer each with a tally."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    note = Note(note_path)
    made: dict[str, tuple[Reader, Spoiler]] = {}
    while (block := blocks.recv()) is not None:
        name, first, count = block
        if name not in made:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            reader = READERS[name]()
            made[name] = reader, Spoiler(reader.samples, reader.form, seed)
            most = _memory_bytes() + MOST_MEMORY_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        blocks.send(tried(*made[name], range(first, first + count), note))


def _memory_bytes() -> int:
    """The address space of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
