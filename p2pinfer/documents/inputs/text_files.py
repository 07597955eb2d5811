"""Finds the text files of a job: in folders and below, by globs, or one by one."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path

from p2pinfer.errors import UsageError

MOST_FILES = 1_000_000
EVERY_FILE = "*"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file as it was when it was found. It may change, and it may be no text."""

    path: str
    """Absolute; bytes that are no characters are lone surrogates, as Python has them."""
    custom_id: str
    """The path below the folder that all files of the job share."""
    size_bytes: int
    modified_ns: int


def find_text_files(
    inputs: Sequence[str], *, pattern: str = EVERY_FILE, without: Collection[Path] = ()
) -> list[TextFile]:
    """The files of folders, globs and single files, each once, by their paths.

    In folders, and in folders below, files whose names match `pattern` count. Hidden files and folders don't
    count there, nor do pipes and devices. Links are followed, but no folder is read twice. `without` are
    files that never count: those that the job writes. Raises UsageError if there are no files, too many, or
    if a folder can't be read.
    """
    written = {os.path.realpath(path) for path in without}
    found: dict[str, os.stat_result | None] = {}
    roots = []
    for name in inputs:
        root, places = _places(name)
        roots.append(root)
        for path, status in _below(places, pattern):
            if os.path.realpath(path) not in written:
                found[path] = status
            if len(found) > MOST_FILES:
                raise UsageError(f"there are more than {MOST_FILES:,} files: run several jobs")
    if not found:
        wanted = "" if pattern == EVERY_FILE else f" that match --pattern {pattern}"
        raise UsageError(f"there are no files{wanted} in {', '.join(inputs)}")
    base = os.path.commonpath(roots)
    return [
        TextFile(
            path=path,
            custom_id=as_text(os.path.relpath(path, base)),
            size_bytes=0 if status is None else status.st_size,
            modified_ns=0 if status is None else status.st_mtime_ns,
        )
        for path, status in sorted(found.items())
    ]


def hash_of(files: Iterable[TextFile]) -> str:
    """What tells these files from others, and from themselves when they have changed; in hexadecimal.

    By name, size and time of the last change: the contents of many files take minutes to read.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path!r} {file.size_bytes} {file.modified_ns}\n".encode())
    return digest.hexdigest()


def as_text(name: str) -> str:
    r"""The name of a file, with `\xff` for bytes that are no characters."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _places(name: str) -> tuple[str, list[str]]:
    """The folder to which an input's names are relative, and the files and folders that it names."""
    path = os.path.abspath(name)
    if os.path.isdir(path):
        return path, [path]
    if os.path.lexists(path):
        return os.path.dirname(path), [path]
    if not glob.has_magic(name):
        raise UsageError(f"{name} doesn't exist")
    places = sorted(glob.iglob(path, recursive=True))
    if not places:
        raise UsageError(f"no file matches {name}")
    parts = takewhile(lambda part: not glob.has_magic(part), Path(path).parts)
    return os.path.join(*parts), places


def _below(places: Iterable[str], pattern: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Files at these places and below, with their status; None for a link that leads nowhere."""
    folders: deque[str] = deque()
    for place in places:
        if os.path.isdir(place):
            folders.append(place)
        else:
            yield place, _status(place)
    links: deque[str] = deque()  # after the folders themselves, which so keep their own names
    seen: set[tuple[int, int]] = set()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda one: one.name):
                    if entry.name.startswith("."):
                        continue
                    if os.path.isdir(entry.path):  # unlike the entry's own method it answers for any link
                        (links if entry.is_symlink() else folders).append(entry.path)
                    elif fnmatchcase(entry.name, pattern) and (entry.is_symlink() or entry.is_file()):
                        yield entry.path, _status(entry.path)
        except OSError as error:
            raise UsageError(f"the folder {as_text(folder)} can't be read: {error.strerror}") from error


def _status(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except OSError:
        return None  # reading it will say why
    if stat.S_ISDIR(status.st_mode):
        return None
    return status
