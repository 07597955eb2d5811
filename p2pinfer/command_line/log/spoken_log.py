"""The log's handler: it speaks lines with `say` or `complain`, as many as there is room for."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from p2pinfer.command_line.log.line_rates import USUAL, Kind, LineBound, LineRates, shortened
from p2pinfer.plain_text import harmless, printable, seconds_in_words

_QUOTED_LENGTH = 80
_REMIND_LATER_SECONDS = 0.1
"""Behind the end of a round, in case timers and clocks differ."""


class SpokenLog(logging.Handler):
    """Speaks log lines; none that can't be written stops anything.

    Of lines of one kind only the first ones are spoken, and after a while how many are missing. The others
    are never put into words: a flood of them costs little. Any thread may log.
    """

    def __init__(
        self,
        speak: Callable[[str], None],
        bound: LineBound = USUAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._speak = speak
        self._clock = clock
        self._rates = LineRates(bound)
        self._reminder: threading.Timer | None = None
        self._turn = self.lock or threading.RLock()  # logging holds it around `emit`

    def emit(self, record: logging.LogRecord) -> None:
        """Speak a line, or count it."""
        now, rates = self._clock(), self._rates
        if rates.is_over(now):
            self._begin(now)
        words = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        error = record.exc_info[0] if record.exc_info else None
        kind = rates.kind_of(record.name, words, "" if error is None else error.__name__)
        if not rates.admit(kind):
            self._remind(rates.ends_at - now)
            return
        try:
            line = shortened(harmless(self.format(record)))  # an error of a library may quote a stranger
        except Exception as error:  # noqa: BLE001 - whatever an argument's __str__ raises
            line = shortened(f"a fault in p2pinfer: no log line can be made of {record.msg!r}: {error!r}")
        rates.wrote(kind, len(line.encode(errors="replace")) + 1)
        self._speak(line)

    def flush(self) -> None:
        """Say which lines are missing so far: the program ends."""
        with self._turn:
            self._begin(self._clock())

    def close(self) -> None:
        """Say nothing any more."""
        if self._reminder is not None:
            self._reminder.cancel()
        super().close()

    def _look(self) -> None:
        with self._turn:
            if self._rates.is_over(now := self._clock()):
                self._begin(now)

    def _begin(self, now: float) -> None:
        self._reminder = None
        for kind, number in self._rates.begin(now):
            self._speak(missing_lines(kind, number, self._rates.bound.seconds))

    def _remind(self, seconds: float) -> None:
        """Say in time which lines are missing, also if no other line comes."""
        if self._reminder is None:
            self._reminder = threading.Timer(seconds + _REMIND_LATER_SECONDS, self._look)
            self._reminder.daemon = True
            with contextlib.suppress(RuntimeError):  # Python ends: no thread can be started any more
                self._reminder.start()


def missing_lines(kind: Kind, number: int, seconds: float) -> str:
    """What stands for lines that were not spoken.

    >>> missing_lines(Kind("p2pinfer.tasks", "a background task failed"), 3214, 60.0)
    '... and 3,214 more like it within 60 s: a background task failed'
    """
    what = printable(f"{kind.logger}: many kinds" if kind.words is None else kind.words, _QUOTED_LENGTH)
    return f"... and {number:,} more like it within {seconds_in_words(seconds)}: {what}"
