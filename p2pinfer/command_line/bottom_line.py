"""The last line of a terminal, which a program draws again and again while other lines appear above it.

Only one of a program's parts has it at a time. `say` and `complain` take the line away, write theirs, and put
it back: so nothing is garbled, also where standard output and standard error lead to the same terminal.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TextIO

from p2pinfer.command_line.speaker import speaker_of

_WIPE = b"\r\x1b[K"  # to the first column, and erase to the end of the line (ECMA-48: EL)
_USUAL_COLUMNS = 80
_LEAST_COLUMNS = 20  # a narrower terminal gets lines as a log does


class BottomLine:
    """The last line of one terminal. Make one with `claim`. For any thread; no method raises or blocks."""

    def __init__(self, descriptor: int, screen: os.stat_result, encoding: str) -> None:
        self.encoding = encoding
        self._descriptor = descriptor
        self._screen = screen
        self._drawn = b""

    @classmethod
    def claim(cls, stream: TextIO | None) -> BottomLine | None:
        """The last line of the terminal that `stream` leads to.

        None if it leads to no terminal, to one that can't erase or is too narrow, or if the line is taken.
        """
        if stream is None or os.environ.get("TERM", "dumb") in ("", "dumb"):
            return None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = stream.fileno()
            if not os.isatty(descriptor) or _columns(descriptor) < _LEAST_COLUMNS:
                return None
            line = cls(descriptor, os.fstat(descriptor), stream.encoding or "ascii")
            with _TURN:
                if _TAKEN:
                    return None
                _TAKEN.append(line)
            return line
        return None

    @property
    def columns(self) -> int:
        """How many columns may be used now. The last one stays free: some terminals break the line there."""
        return _columns(self._descriptor) - 1

    def draw(self, text: str) -> None:
        """Show `text`, of at most `columns` columns, instead of what was drawn before.

        Nothing is drawn while the terminal stands still (Ctrl-S): old pictures are worth nothing later.
        """
        data = text.encode(self.encoding, "replace")
        with _TURN:
            speaker = speaker_of(self._descriptor)
            if self in _TAKEN and speaker.wait_written(0):
                self._drawn = data
                speaker.say(_WIPE + data)

    def release(self) -> None:
        """Wipe the line and let others have it."""
        with _TURN:
            if self in _TAKEN:
                self.wipe()
                _TAKEN.remove(self)

    def wipe(self) -> None:
        """Take the line away until it is drawn again."""
        with _TURN:
            if self._drawn:
                self._drawn = b""
                speaker_of(self._descriptor).say(_WIPE)

    def say_above(self, descriptor: int, line: bytes) -> None:
        """Write a line to `descriptor` as it should be while this line is on a screen, maybe the same."""
        if not self._drawn or not self._shares_screen(descriptor):
            speaker_of(descriptor).say(line)
        elif descriptor == self._descriptor:
            speaker_of(descriptor).say(_WIPE + line + self._drawn)
        else:
            speaker_of(self._descriptor).say(_WIPE)
            speaker_of(descriptor).say(line)
            speaker_of(self._descriptor).say(self._drawn)

    def _shares_screen(self, descriptor: int) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(descriptor), self._screen)
        return False


_TAKEN: list[BottomLine] = []  # none or one
_TURN = threading.RLock()  # a signal handler may speak, too


def say_above(descriptor: int, line: bytes) -> None:
    """Write a line, which ends with a line break, above the last line of a terminal, if one is drawn."""
    with _TURN:
        if _TAKEN:
            _TAKEN[0].say_above(descriptor, line)
            return
    speaker_of(descriptor).say(line)


def wipe() -> None:
    """Take the drawn line away, before something is written past `say`."""
    with _TURN:
        for line in _TAKEN:
            line.wipe()


def _columns(descriptor: int) -> int:
    with contextlib.suppress(OSError):
        return os.get_terminal_size(descriptor).columns or _USUAL_COLUMNS
    return _USUAL_COLUMNS
