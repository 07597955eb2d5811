"""The status of a server, in a file for `python -m p2pinfer.owner status`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.outside.plain_json import read_json
from p2pinfer.owner.states import OwnerState
from p2pinfer.private_files import write_private
from p2pinfer.types import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalLine:
    """A signal at the time when the status was written."""

    value: str
    at: float  # Unix seconds
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One server at one moment."""

    peer_id: PeerId
    process: int
    written_at: float  # Unix seconds; every few seconds while it runs
    state: OwnerState
    since: float
    words: str  # why the server is in this state
    model: str
    layers: str = ""
    public_name: str = ""
    leaves_at: float | None = None
    sessions: int = 0
    unsigned_tokens: int = 0
    duty: float = 1.0  # share of the time in which the server may compute
    watts: float | None = None
    reached: str = ""  # a line on how others do; empty: it isn't in the swarm with its layers
    relaying: str = ""  # what it passes on for others, in words; empty: it is no relay
    reach: Mapping[str, object] = field(default_factory=dict)  # the same as data
    shared_bytes: int = 0  # this month, by all servers of the data folder: model files given to others
    signals: Mapping[str, SignalLine] = field(default_factory=dict)
    troubles: Mapping[str, str] = field(default_factory=dict)  # by origin


def write_status(folder: Path, status: Status) -> None:
    """Replace the server's status. Raises OSError."""
    # Private: a status shows where the car is, and when nobody is at home.
    data = json.dumps(asdict(status)).encode()
    write_private(folder / f"{status.peer_id}.json", data, replace=True, durable=False)


def read_statuses(folder: Path) -> list[Status]:
    """The statuses of all servers, the newest first, without damaged ones. Raises UsageError."""
    statuses = []
    try:
        for path in folder.glob("*.json"):
            with contextlib.suppress(ValueError, TypeError, KeyError, FileNotFoundError):
                statuses.append(_parse(read_json(path.read_bytes())))
    except OSError as error:
        raise UsageError(f"{folder} can't be read ({error.strerror}): check its permissions") from error
    return sorted(statuses, key=lambda status: -status.written_at)


def _parse(said: object) -> Status:
    """Raises ValueError, TypeError or KeyError if `said` isn't a status."""
    if not isinstance(said, dict):
        raise TypeError("a status is a table")
    known = {one.name for one in fields(Status)}
    given = {key: value for key, value in said.items() if key in known}
    for name, value in given.items():
        is_yes_or_no = isinstance(value, bool)  # which Python counts as a number
        if is_yes_or_no or not (isinstance(value, _KINDS[name]) or (value is None and name in _MAY_LACK)):
            raise TypeError(f"{name} is of another kind")
        if name in _NUMBERS and isinstance(value, int | float) and not abs(value) < _MOST_SECONDS:
            raise ValueError(f"{name} is no number that a clock or a meter gives")
    signals = {name: SignalLine(**line) for name, line in given.get("signals", {}).items()}
    if not all(isinstance(line.value, str) and abs(line.at) < _MOST_SECONDS for line in signals.values()):
        raise TypeError("a signal is of another kind")
    given["signals"] = signals
    given["state"] = OwnerState(given["state"])
    return Status(**given)


_TEXTS = ("peer_id", "state", "words", "model", "layers", "public_name", "reached", "relaying")
_NUMBERS = ("written_at", "since", "leaves_at", "duty", "watts")
_COUNTS = ("process", "sessions", "unsigned_tokens", "shared_bytes")
_TABLES = ("reach", "signals", "troubles")
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(_TEXTS, (str,)),
    **dict.fromkeys(_NUMBERS, (int, float)),
    **dict.fromkeys(_COUNTS, (int,)),
    **dict.fromkeys(_TABLES, (dict,)),
}
_MOST_SECONDS = 1e11
"""Unix seconds in the year 5138; a date that is too late can't be shown."""
_MAY_LACK = frozenset({"leaves_at", "watts"})
