"""Shows how far a job is: in the last line of a terminal, or now and then as a line of a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from p2pinfer.command_line.bottom_line import BottomLine
from p2pinfer.command_line.output import say
from p2pinfer.command_line.progress import signs_for
from p2pinfer.documents.jobs.job import Counts
from p2pinfer.documents.running.progress import Progress
from p2pinfer.documents.showing.progress_text import progress_line, progress_words

_FIRST_LOG_SECONDS = 10.0
_MOST_LOG_SECONDS = 600.0
_LOG_SHARE = 0.2
"""Between two lines of a log passes at least this share of the time until then: a job of three days has some
hundred lines."""


class ProgressLine:
    """The progress of one job. Use it as `with`; never raises."""

    def __init__(
        self, *, speak: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Claims the last line of the terminal, if standard output is one."""
        self._line = BottomLine.claim(sys.stdout)
        self._speak = speak
        self._clock = clock
        self._began_at = self._said_at = clock()
        self._waiting_for = ""
        self._counts = Counts()
        self._ended_at = self._began_at  # when a document ended last

    def show(self, progress: Progress) -> None:
        """Show it, or say it if it is time; as often as anybody likes."""
        if progress.counts != self._counts:
            self._counts, self._ended_at = progress.counts, self._clock()
        quiet_seconds = self._clock() - self._ended_at
        if self._line is not None:
            signs, columns = signs_for(self._line.encoding), self._line.columns
            self._line.draw(progress_line(progress, quiet_seconds, columns=columns, signs=signs))
        elif self._is_time(progress):
            self._said_at = self._clock()
            self._waiting_for = progress.waiting_for
            self._speak(progress_words(progress, quiet_seconds))

    def close(self) -> None:
        """Give the last line back. Again is no error."""
        if self._line is not None:
            self._line.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_time(self, progress: Progress) -> bool:
        now = self._clock()
        if bool(progress.waiting_for) != bool(self._waiting_for):
            return True
        pause = min(max(_FIRST_LOG_SECONDS, _LOG_SHARE * (now - self._began_at)), _MOST_LOG_SECONDS)
        return now - self._said_at >= pause
