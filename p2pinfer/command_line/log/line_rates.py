"""How many lines of which kind a log takes. Pure: callers bring the time and the lines.

Lines are of one kind if the same logger wrote them with the same words, whatever the arguments. Some
libraries put arguments into the words: so the kinds are bounded, those of one logger, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_LINE_BYTES = 8 * 1024
"""A longer line loses its middle."""

_LOGGER_KINDS, _ALL_KINDS = 16, 128
_WORDS_LENGTH = 200


class Kind(NamedTuple):
    """What makes lines alike."""

    logger: str
    words: str | None
    """The line before its arguments are put in; None: it is one of too many kinds."""

    error: str = ""
    """The type of the exception whose traceback follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBound:
    """How much is written within `seconds`."""

    lines: int
    """Of one kind."""

    kind_bytes: int
    """Of one kind, in whole lines. The first line of a kind is always written."""

    in_all_bytes: int
    """Of all kinds together, beside the first line of each."""

    seconds: float = 60.0


USUAL = LineBound(lines=30, kind_bytes=16 * 1024, in_all_bytes=128 * 1024)
"""184 MB a day, if somebody finds lines of many kinds; 23 MB with lines of one kind."""

VERBOSE = LineBound(lines=300, kind_bytes=160 * 1024, in_all_bytes=1280 * 1024)
"""For those who look for a fault, and have an eye on the log."""


@dataclass(slots=True)
class _Written:
    lines: int = 0
    bytes: int = 0
    missing: int = 0


@dataclass(slots=True)
class LineRates:
    """Counts lines, in rounds of `bound.seconds`. `now` is any clock that never goes back."""

    bound: LineBound
    _kinds: dict[Kind, _Written] = field(default_factory=dict)
    _of_logger: Counter[str] = field(default_factory=Counter)
    _in_all_bytes: int = 0
    _ends_at: float = float("-inf")

    def is_over(self, now: float) -> bool:
        """True if the round is over: `begin` another one."""
        return now >= self._ends_at

    @property
    def ends_at(self) -> float:
        """When the round is over."""
        return self._ends_at

    def begin(self, now: float) -> list[tuple[Kind, int]]:
        """Begin a round. Return how many lines of which kinds are missing from the last one."""
        missing = [(kind, one.missing) for kind, one in self._kinds.items() if one.missing]
        self._kinds.clear()
        self._of_logger.clear()
        self._in_all_bytes, self._ends_at = 0, now + self.bound.seconds
        return missing

    def kind_of(self, logger: str, words: str, error: str = "") -> Kind:
        """The kind of a line that this logger writes with these words."""
        kind = Kind(logger, words[:_WORDS_LENGTH], error)
        if kind in self._kinds:
            return kind
        if self._of_logger[logger] >= _LOGGER_KINDS:
            kind = Kind(logger, None)
        return kind if kind in self._kinds or len(self._kinds) < _ALL_KINDS else Kind("", None)

    def admit(self, kind: Kind) -> bool:
        """True if one more line of this kind may be written; else it is counted as missing."""
        written = self._kinds.get(kind)
        if written is None:
            written = self._kinds[kind] = _Written()
            self._of_logger[kind.logger] += 1
        bound = self.bound
        is_free = written.lines < bound.lines and written.bytes < bound.kind_bytes
        if written.lines and not (is_free and self._in_all_bytes < bound.in_all_bytes):
            written.missing += 1
            return False
        written.lines += 1
        return True

    def wrote(self, kind: Kind, length: int) -> None:
        """A line of so many bytes was written."""
        self._kinds[kind].bytes += length
        self._in_all_bytes += length


def shortened(line: str) -> str:
    """A line of at most MOST_LINE_BYTES characters. The end of a traceback says most, so the middle goes.

    >>> len(shortened("x" * 100_000))
    8192
    """
    if len(line) <= MOST_LINE_BYTES:
        return line
    gap = "\n[...]\n"
    half = (MOST_LINE_BYTES - len(gap)) // 2
    return line[: MOST_LINE_BYTES - len(gap) - half] + gap + line[-half:]
