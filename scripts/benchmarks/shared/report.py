"""The benchmarks' reports: medians with spreads, verdicts, progress, a file of all values."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median, the least and the most of some measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarize at least one value."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))

    def range(self, digits: int = 1) -> str:
        """`(least, most)`."""
        return f"({self.least:.{digits}f}, {self.most:.{digits}f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What was promised, and what was found, in words."""

    what: str
    wanted: str
    found: str
    is_met: bool


def goal_lines(goals: Iterable[Goal], *, width: int) -> Iterator[str]:
    """A heading and a line for each goal; `width` characters have the longest name."""
    yield f"{'goals':{width + 2}} {'wanted':>10} {'found':>10}"
    for goal in goals:
        yield f"  {goal.what:{width}} {goal.wanted:>10} {goal.found:>10}  {verdict(goal.is_met)}"


def verdict(met: bool) -> str:
    """`met` or a word in capitals that is easy to find."""
    return "met" if met else "MISSED"


def say(line: str) -> None:
    """Print progress to stderr, so that the table can be piped."""
    print(line, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Cores and processor of the machine that measures."""
    return {"cores": os.cpu_count(), "processor": platform.machine()}


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write every value to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1))
