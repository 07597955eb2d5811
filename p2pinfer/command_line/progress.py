"""A long transfer of bytes, for the person at a terminal and for the reader of a log.

On a terminal one line is drawn over and over: a bar, how much, how fast, how long it still takes. In a pipe
or a file there is a line at the beginning, one every ten seconds, and one at the end.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from p2pinfer.command_line.bottom_line import BottomLine
from p2pinfer.command_line.output import say
from p2pinfer.command_line.rate import Pace, RateMeter
from p2pinfer.command_line.tables import display_width, fit
from p2pinfer.plain_text import bytes_in_words, printable, seconds_in_words

_DRAW_SECONDS = 0.2
_LOG_SECONDS = 10.0
_MOST_BAR_COLUMNS = 30
_LEAST_BAR_COLUMNS = 8
_MOST_LEFT_SECONDS = 7 * 86_400.0
"""A longer time left isn't said: the rate of some seconds can't tell it."""

BLOCKS = ("█", "░")
ASCII = ("#", ".")


def progress_text(done: int, total: int, pace: Pace, doing: str = "") -> str:
    """In words, for a log and beside a bar: `34% of 1.2 GB, 5.6 MB/s, 2 min 20 s left`.

    `total` is 0 while nobody knows it. `doing` says what goes on while no bytes come.
    """
    if total <= 0:
        words = [bytes_in_words(done)]
    else:
        # Cut, not rounded: 100% is what is complete.
        words = [f"{min(done, total) * 100 // total}% of {bytes_in_words(total)}"]
    if total > 0 and done >= total:
        return words[0]
    if pace.stalled_seconds is not None:
        words.append(doing or f"stalled for {seconds_in_words(pace.stalled_seconds)}")
    elif pace.per_second is not None:
        words.append(f"{bytes_in_words(pace.per_second)}/s")
        left = (total - done) / pace.per_second if pace.per_second > 0 and total > 0 else _MOST_LEFT_SECONDS
        if left < _MOST_LEFT_SECONDS:
            words.append(f"{seconds_in_words(left)} left")
    return ", ".join(words)


def bar_line(
    what: str,
    done: int,
    total: int,
    pace: Pace,
    doing: str = "",
    *,
    columns: int,
    signs: tuple[str, str] = BLOCKS,
) -> str:
    """One line of at most `columns` terminal columns: `fetching X ██████░░░░ 34% of 1.2 GB, ...`.

    Where room is short the bar goes first, then the end of `what`. `signs` are those for done and not done.
    """
    words = progress_text(done, total, pace, doing)
    room = columns - display_width(what) - len(words) - 2
    if total > 0 and room >= _LEAST_BAR_COLUMNS:
        size = min(room, _MOST_BAR_COLUMNS)
        filled = min(size, max(done, 0) * size // total)
        return f"{what} {signs[0] * filled}{signs[1] * (size - filled)} {words}"
    room = columns - len(words) - 1
    if room < 1:
        return words[:columns]
    name = what if display_width(what) <= room else _cut(what, room)
    return f"{name} {words}".lstrip()


class ProgressBar:
    """Shows how far a transfer is, until it is closed. For any thread; no method raises or blocks.

    A thread of its own draws, so that a transfer that stands still is seen to do so.
    """

    def __init__(
        self,
        what: str,
        *,
        draw_seconds: float = _DRAW_SECONDS,
        log_seconds: float = _LOG_SECONDS,
        speak: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`what` is done, with the subject: `fetching layers 3:6 of X`. It may come from strangers.

        With `speak` there is no bar: it gets the lines of a log. What it raises is dropped.
        """
        self._speak = speak or say
        self._what = printable(what)
        self._clock = clock
        self._log_seconds = log_seconds
        self._began_at = clock()
        self._done = self._total = 0
        self._doing = ""
        self._before: int | None = None  # what was there at the first update
        self._meter = RateMeter(0, self._began_at)
        self._logged_at = self._began_at
        self._lock = threading.RLock()  # of the numbers; a signal handler may close the bar
        self._saying = threading.RLock()  # so that no line comes after the last one
        self._ending = threading.Event()
        self._line = BottomLine.claim(sys.stdout) if speak is None else None
        self._every_seconds = draw_seconds if self._line else min(1.0, log_seconds / 4)
        self._thread = threading.Thread(target=self._show_until_closed, name="progress", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread can be started: a bar stops no transfer
            self._thread.start()

    def update(self, done: int, total: int, doing: str = "") -> None:
        """`done` of `total` bytes are there; a `total` of 0 is unknown. May be called for every piece.

        `doing` is said in the place of "stalled" if no bytes come now.
        """
        with self._lock:
            now = self._clock()
            is_first = self._before is None
            if self._before is None:
                self._before, self._began_at = done, now
                self._meter = RateMeter(done, now)
            self._done, self._total, self._doing = done, total, printable(doing)
            self._meter.update(done, now)
        if is_first and self._line is None:
            self._log()

    def close(self) -> None:
        """Show nothing any more, and say how it ended. Again is no error."""
        if self._line is not None:
            self._line.release()
        with self._saying:
            if not self._ending.is_set() and self._before is not None:
                self._tell(self._last_words())
            self._ending.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _show_until_closed(self) -> None:
        while not self._ending.wait(self._every_seconds):
            if self._before is None:
                continue
            if self._line is not None:
                self._draw(self._line)
            elif self._clock() - self._logged_at >= self._log_seconds:
                self._log()

    def _draw(self, line: BottomLine) -> None:
        signs = signs_for(line.encoding)
        line.draw(bar_line(self._what, *self._state(), columns=line.columns, signs=signs))

    def _log(self) -> None:
        with self._saying:
            if not self._ending.is_set():
                self._logged_at = self._clock()
                self._tell(progress_text(*self._state()))

    def _tell(self, words: str) -> None:
        with contextlib.suppress(Exception):
            self._speak(f"{self._what}: {words}")

    def _state(self) -> tuple[int, int, Pace, str]:
        with self._lock:
            return self._done, self._total, self._meter.pace(self._clock()), self._doing

    def _last_words(self) -> str:
        came = self._done - (self._before or 0)
        if self._total <= 0 or self._done < self._total:
            of = f" of {bytes_in_words(self._total)}" if self._total > 0 else ""
            return f"ended at {bytes_in_words(self._done)}{of}"
        seconds = self._clock() - self._began_at
        if came <= 0:
            return f"all {bytes_in_words(self._total)} were here"
        if seconds < 1:
            return f"{bytes_in_words(came)} in less than a second"
        return f"{bytes_in_words(came)} in {seconds_in_words(seconds)} ({bytes_in_words(came / seconds)}/s)"


def signs_for(encoding: str) -> tuple[str, str]:
    """What bars are made of, done and not done, on a terminal with this encoding."""
    try:
        "".join(BLOCKS).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def _cut(text: str, columns: int) -> str:
    return fit(text, columns).rstrip()
