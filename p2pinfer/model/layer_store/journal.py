"""Which files of an unfinished store are finished: what lets a conversion of many hours go on after a kill.

The journal lies in the folder of the unfinished store. Its first line is a key that says what is converted;
each further line is a file's entry, written when the file is on disk. A line that was cut is left out.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2pinfer.model.layer_store.chunks import FileDigest, FileEntry, number_of_chunks
from p2pinfer.model.layer_store.names import ENDS_FILE, layer_of
from p2pinfer.outside.plain_json import read_json

JOURNAL_FILE = "journal.jsonl"

Key = Mapping[str, str | int]
"""Everything that the bytes of the files depend on."""

_READ_BYTES = 1 << 20
_MOST_LINES = 5000


class Journal:
    """The journal of one folder. The caller holds the folder's lock."""

    def __init__(self, folder: Path, key: Key) -> None:
        """Read the journal; a folder with another key, or none, is emptied. Raises OSError."""
        self._folder = folder
        self._path = folder / JOURNAL_FILE
        self._entries: dict[str, FileEntry] = {}
        if read_key(folder) == dict(key):
            self._entries = dict(_entries(self._path))
        else:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(dict(key)), *map(_line, self._entries.items())]
        aside = folder / f".{JOURNAL_FILE}"
        aside.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        os.replace(aside, self._path)

    def kept_bytes(self) -> int:
        """How much of the disk the finished files take already."""
        paths = [self._folder / name for name in self._entries]
        return sum(path.stat().st_size for path in paths if path.is_file())

    def finished(self, name: str, *, kept: bool) -> FileEntry | None:
        """A file's entry. If it is `kept` its bytes are compared first; if not, they are removed."""
        entry = self._entries.get(name)
        if not kept:
            (self._folder / name).unlink(missing_ok=True)
            return entry
        return entry if entry is not None and _entry_of(self._folder / name) == entry else None

    def add(self, name: str, entry: FileEntry) -> None:
        """Note a file that is on disk. Raises OSError."""
        self._entries[name] = entry
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{_line((name, entry))}\n")
            file.flush()
            os.fsync(file.fileno())


def read_key(folder: Path) -> dict[str, Any] | None:
    """The key of a folder's journal; None if it has none that can be read."""
    try:
        with (folder / JOURNAL_FILE).open(encoding="utf-8") as file:
            key = read_json(file.readline(4096))
    except (OSError, ValueError):
        return None
    return key if isinstance(key, dict) else None


def _line(named: tuple[str, FileEntry]) -> str:
    name, entry = named
    return json.dumps([name, entry.sha256, entry.bytes, "".join(entry.chunks)])


def _entries(path: Path) -> list[tuple[str, FileEntry]]:
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines()[1:_MOST_LINES]:
        try:
            name, sha256, size, chunks = read_json(line)
            is_known = name == ENDS_FILE or layer_of(name) is not None
            if is_known and len(chunks) == 64 * number_of_chunks(size):
                hashes = tuple(chunks[start : start + 64] for start in range(0, len(chunks), 64))
                found.append((name, FileEntry(sha256, size, hashes)))
        except (ValueError, TypeError):
            continue
    return found


def _entry_of(path: Path) -> FileEntry | None:
    digest = FileDigest()
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
    except OSError:
        return None
    return digest.entry()
