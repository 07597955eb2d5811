"""Writes lines to a file descriptor without ever holding up the program that says them.

A pipe whose reader sleeps, a terminal stopped by Ctrl-S and a disk that hangs all block the thread that
writes. So a thread of its own writes; the program only waits a moment for it, to keep its lines in order.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque

MOST_WAITING_BYTES = 1 << 20
"""Lines beyond this are lost until the reader reads again."""

_PROMPT_SECONDS = 0.05
"""How long a program waits for the thread while lines are written promptly."""


class Speaker:
    """The lines of one file descriptor, in their order. For any thread; no method raises."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0  # also of the line that is written now
        self._lost = 0
        self._stuck = False
        self._changed = threading.Condition()  # its lock is an RLock: a signal handler may speak, too
        self._thread: threading.Thread | None = None

    def say(self, line: bytes) -> None:
        """Write a line, which ends with a line break, soon. The line is lost if too many wait already."""
        with self._changed:
            if self._waiting_bytes + len(line) > MOST_WAITING_BYTES:
                self._lost += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            if self._thread is None:
                try:
                    self._thread = threading.Thread(target=self._write_forever, name="speaker", daemon=True)
                    self._thread.start()
                except RuntimeError:  # Python ends: no thread can be started any more
                    self._thread = None
                    self._lines.clear()
                    self._waiting_bytes = 0
                    return
            self._changed.notify_all()
            if not self._stuck:
                self._stuck = not self.wait_written(_PROMPT_SECONDS)

    def wait_written(self, seconds: float | None) -> bool:
        """Wait until every line was written, for `seconds` at most if given; False if some still wait."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting_bytes, seconds)

    def _write_forever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
            _write(self._descriptor, line)
            with self._changed:
                self._waiting_bytes -= len(line)
                if not self._waiting_bytes:
                    self._stuck = False
                    if self._lost:
                        self._lines.append(_lost_lines(self._lost))
                        self._waiting_bytes, self._lost = len(self._lines[0]), 0
                self._changed.notify_all()


def _write(descriptor: int, line: bytes) -> None:
    """Write everything, however long it takes. A line that can't be written is lost."""
    left = memoryview(line)
    try:
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:  # another program has made the descriptor non-blocking
                select.select([], [descriptor], [])
    except BrokenPipeError:  # nobody will read it any more
        send_nowhere(descriptor)
    except (OSError, ValueError):
        pass  # a full disk, which may have room later, or a closed descriptor


_SPEAKERS: dict[int, Speaker] = {}


def speaker_of(descriptor: int) -> Speaker:
    """The one speaker of a file descriptor."""
    return _SPEAKERS.setdefault(descriptor, Speaker(descriptor))


def send_nowhere(descriptor: int) -> None:
    """Drop everything that is written to `descriptor` from now on."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, descriptor)
        finally:
            os.close(nowhere)


def _lost_lines(number: int) -> bytes:
    return b"(%d lines are missing here: the output was not read)\n" % number
