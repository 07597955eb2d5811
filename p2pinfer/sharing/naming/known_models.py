"""Which hash each name of a model had, on this machine, so that a change is seen.

A small JSON file in the cache folder. It is a memory, not a ledger: a file that is damaged is set aside, one
that can't be written is complained about, and nothing fails for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2pinfer.outside.plain_json import read_json
from p2pinfer.private_files import make_private_folder, write_private

FILE = "known-models.json"
MOST_MODELS = 1000
"""Those that were not seen for the longest time are forgotten first."""

_VERSION = 1
_MOST_FILE_BYTES = 1 << 20
_MOST_NAME_CHARACTERS = 128
_HASH = re.compile(r"[0-9a-f]{64}")
_WAIT_SECONDS = 2.0  # another process writes for some milliseconds
_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """The model that a name stood for."""

    hash: str  # of its manifest
    first_seen: float  # Unix seconds; since then the name has had this hash
    last_seen: float


class KnownModels:
    """The file. No method raises: `warn` gets a line about what went wrong."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn

    @classmethod
    def of(cls, cache_folder: Path, warn: Callable[[str], None]) -> KnownModels:
        """Those of a cache folder."""
        return cls(cache_folder / FILE, warn)

    def read(self) -> dict[str, KnownModel]:
        """Every name with what it stood for. A damaged file is set aside, and nothing is known."""
        try:
            return self._load()
        except OSError as error:
            self._warn(f"{self._path} can't be read ({error.strerror}): changes of models are not noticed")
            return {}

    def remember(self, name: str, model: str, *, at: float) -> None:
        """Note that `name` stands for the manifest hash `model`, at Unix seconds `at`."""
        try:
            make_private_folder(self._path.parent)
            with self._only_writer():
                known = self._load()
                before = known.get(name)
                same = before is not None and before.hash == model
                since = before.first_seen if before is not None and same else at
                known[name] = KnownModel(hash=model, first_seen=since, last_seen=at)
                write_private(self._path, _text(known).encode(), replace=True, durable=False)
        except OSError as error:
            self._warn(f"{self._path} can't be written ({error.strerror}): a change of {name} isn't noticed")

    def _load(self) -> dict[str, KnownModel]:
        """Raises OSError if the file is there and can't be read: then it isn't written either."""
        try:
            if self._path.stat().st_size > _MOST_FILE_BYTES:
                raise ValueError("it is too large")
            return _parse(read_json(self._path.read_bytes()))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            self._set_aside(str(error))
            return {}

    def _set_aside(self, why: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        with contextlib.suppress(OSError):
            os.replace(self._path, aside)
        self._warn(
            f"{self._path} is damaged ({why[:100]}) and lies now in {aside.name}: which hash each model had "
            "is forgotten, so a change of one isn't noticed this time"
        )

    @contextlib.contextmanager
    def _only_writer(self) -> Iterator[None]:
        """Keep other processes from writing.

        One that sleeps with the lock is waited for some seconds only: then the last one to write wins, and
        the file is whole nevertheless.
        """
        with self._path.with_name(f".{self._path.name}.lock").open("w") as lock:
            until = time.monotonic() + _WAIT_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        break
                    time.sleep(_LOOK_SECONDS)
            yield


def _parse(data: Any) -> dict[str, KnownModel]:
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise ValueError("it isn't of a version that this p2pinfer reads")
    if not isinstance(models := data.get("models"), dict):
        raise ValueError("it has no models")
    return {name: _parse_entry(name, entry) for name, entry in models.items()}


def _parse_entry(name: str, entry: Any) -> KnownModel:
    if not isinstance(entry, dict) or not 0 < len(name) <= _MOST_NAME_CHARACTERS:
        raise ValueError("an entry is malformed")
    model, first, last = (entry.get(part) for part in ("hash", "first_seen", "last_seen"))
    if not isinstance(model, str) or not _HASH.fullmatch(model):
        raise ValueError("a hash is malformed")
    if not all(isinstance(at, int | float) and 0 <= at < 2**40 for at in (first, last)):
        raise ValueError("a time is malformed")
    return KnownModel(hash=model, first_seen=float(first), last_seen=float(last))  # type: ignore[arg-type]


def _text(known: dict[str, KnownModel]) -> str:
    kept = sorted(known.items(), key=lambda item: -item[1].last_seen)[:MOST_MODELS]
    models = {name: asdict(model) for name, model in sorted(kept)}
    return json.dumps({"version": _VERSION, "models": models}, indent=1) + "\n"
