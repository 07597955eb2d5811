"""Feeds a reader with inputs, and notes what came of each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tests.fuzz.reader import Reader
from tests.fuzz.spoiling.spoiler import Spoiler

MOST_SECONDS = 2.0
"""For one input, of processor time. Longer is a defect: a stranger could keep the reader busy."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """An input that brought out a defect."""

    number: int
    data: bytes


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of some inputs of one reader."""

    inputs: int = 0
    read: int = 0  # without an error
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    defects: dict[str, Culprit] = field(default_factory=dict)
    """What went wrong, each kind with the first input that brought it out."""

    def add(self, other: Tally) -> None:
        """Put another tally of the same reader to this one."""
        self.inputs += other.inputs
        self.read += other.read
        self.seconds += other.seconds
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)
        for kind, culprit in other.defects.items():
            self.defects.setdefault(kind, culprit)


class Marker(Protocol):
    """Is told of each input before a reader gets it: the process may not live to tell."""

    def note(self, number: int, data: bytes) -> None:
        """It is this one's turn."""


def tried(reader: Reader, spoiler: Spoiler, numbers: Iterable[int], marker: Marker | None = None) -> Tally:
    """Try the inputs with these numbers."""
    tally, clock = Tally(), time.thread_time
    began = time.monotonic()
    for number in numbers:
        data = spoiler.input(number)
        if marker is not None:
            marker.note(number, data)
        defect, before = "", clock()
        try:
            reader.read(data)
            tally.read += 1
        except reader.errors:
            pass
        except Exception as error:  # noqa: BLE001 - any other is what is looked for
            defect = _kind_of(error)
        seconds = clock() - before
        tally.slowest_seconds = max(tally.slowest_seconds, seconds)
        if seconds > MOST_SECONDS:
            defect = defect or f"more than {MOST_SECONDS:g} s"
        if defect:
            tally.defects.setdefault(defect, Culprit(number, data))
        tally.inputs += 1
    tally.seconds = time.monotonic() - began
    return tally


def _kind_of(error: Exception) -> str:
    """The error's type, and the last place of p2pinfer's that it passed."""
    places = traceback.extract_tb(error.__traceback__)
    ours = [place for place in places if "/p2pinfer/" in place.filename] or places
    name = ours[-1].filename.rpartition("/p2pinfer/")[2]
    return f"{type(error).__name__} at {name}:{ours[-1].lineno}"
