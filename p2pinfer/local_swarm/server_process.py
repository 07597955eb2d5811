"""One server process on this machine, which never outlives its parent.

It runs in a process group of its own. So Ctrl-C at the terminal reaches only the parent, and the server's
children end with the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from p2pinfer.errors import SwarmError
from p2pinfer.types import Span

JOIN_PREFIX = "join this swarm:"
READY_PREFIX = "ready:"
LAST_LINES = 12
LAST_WORDS_SECONDS = 2.0  # for what an ended server has said to be read


class ServerProcess:
    """One `python -m p2pinfer.server`: its output and its process group."""

    def __init__(self, arguments: Sequence[str], *, layers: Span | None, prefix: Sequence[str] = ()) -> None:
        self.layers = layers
        self.initial_peers: tuple[str, ...] = ()
        self.seconds_to_ready: float | None = None
        self._lines: deque[str] = deque(maxlen=200)
        self._news = threading.Condition()
        self._output_ended = False
        self._started_at = time.monotonic()
        parent_reads, self._alive_pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    "-u",
                    "-m",
                    "p2pinfer.local_swarm.child",
                    str(parent_reads),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=(parent_reads,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._alive_pipe)
            raise
        finally:
            os.close(parent_reads)
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()

    @property
    def lines(self) -> list[str]:
        """The last lines of its output, oldest first."""
        with self._news:
            return list(self._lines)

    def wait_joinable(self, deadline: float) -> tuple[str, ...]:
        """Wait for the addresses to join at.

        Raises SwarmError with its last output if the server ends first, or at `deadline` (time.monotonic).
        """
        self._wait_until(lambda: bool(self.initial_peers), "printed its address", deadline)
        return self.initial_peers

    def wait_ready(self, deadline: float) -> float:
        """Wait until it is announced; returns the seconds since its start. Raises like `wait_joinable`."""
        self._wait_until(lambda: self.seconds_to_ready is not None, "was ready", deadline)
        assert self.seconds_to_ready is not None
        return self.seconds_to_ready

    def wait_said(self, words: str, deadline: float) -> str:
        """Wait for a line with these words, and return the first one. Raises like `wait_joinable`."""

        def said() -> Iterator[str]:
            return (line for line in self._lines if words in line)

        self._wait_until(lambda: next(said(), None) is not None, f"said {words!r}", deadline)
        with self._news:
            return next(said())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server, not to its children. Harmless after its end."""
        self._process.send_signal(number)

    def pause(self) -> None:
        """Stop the server and its group until `resume`, as a closed lid would."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`. Harmless if it isn't paused, or has ended."""
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """End the server and its children at once, as a dead battery would."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end, and for what it said last; False if it still runs after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        with self._news:  # not for long: a child of it may hold the output open
            left = max(0.0, deadline - time.monotonic())
            self._news.wait_for(lambda: self._output_ended, min(left, LAST_WORDS_SECONDS))
        return True

    def close(self) -> None:
        """Kill the group and close every file descriptor."""
        self.kill()
        if self._alive_pipe >= 0:
            os.close(self._alive_pipe)
            self._alive_pipe = -1
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for raw_line in self._process.stdout:
            line = raw_line.rstrip()
            with self._news:
                self._lines.append(line)
                if line.startswith(JOIN_PREFIX):
                    self.initial_peers = tuple(line.partition("--initial-peers")[2].split())
                elif line.startswith(READY_PREFIX) and self.seconds_to_ready is None:
                    self.seconds_to_ready = time.monotonic() - self._started_at
                self._news.notify_all()
        with self._news:
            self._output_ended = True
            self._news.notify_all()

    def _wait_until(self, done: Callable[[], bool], what: str, deadline: float) -> None:
        with self._news:
            # A child of an ended server may hold the output open, so the exit status counts too.
            while not (done() or self._output_ended or time.monotonic() > deadline):
                self._news.wait(min(0.5, max(0.0, deadline - time.monotonic())))
                if self.returncode is not None and not self._output_ended:
                    self._news.wait(0.5)
                    break
            if done():
                return
            said = "".join(f"\n    {line}" for line in list(self._lines)[-LAST_LINES:]) or " none"
        if self._output_ended or self.returncode is not None:
            status = self._process.wait()
            problem = f"ended with status {status} before it {what}"
        else:
            problem = f"took longer than {time.monotonic() - self._started_at:.0f} s before it {what}"
        which = "the server" if self.layers is None else f"the server of layers {self.layers}"
        raise SwarmError(f"{which} {problem}; its last output:{said}")
