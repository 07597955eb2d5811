"""A module of this checkout as a process on any host; it exchanges lines of JSON with the benchmark."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scripts.benchmarks.shared.child import LAST_CHARACTERS, ChildError, module_command, module_environment

GRACE_SECONDS = 8.0

Said = dict[str, Any]


class HostProcess:
    """Runs `python -m MODULE PARAMETERS`. A context manager that ends the process and its process group.

    The module ends when its standard input ends, so no process is left behind if the benchmark is killed.
    """

    def __init__(
        self,
        module: str,
        parameters: Said,
        *,
        prefix: Sequence[str] = (),
        log: Path | None = None,
        hear: Callable[[Said], None] | None = None,
    ) -> None:
        """`hear` is called, in a thread of its own, with every line of the process; without it, use `ask`.

        `log` is the file for the process's standard error.
        """
        self._said: queue.Queue[Said | None] = queue.Queue()
        self._hear = hear or self._said.put
        self._errors = log.open("w+") if log is not None else tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*prefix, *module_command(module, json.dumps(parameters))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=module_environment(TRANSFORMERS_VERBOSITY="error", GRPC_VERBOSITY="NONE"),
            start_new_session=True,  # Ctrl-C is for the benchmark, which then ends the process
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def returncode(self) -> int | None:
        """The exit status, None while the process runs."""
        return self._process.poll()

    def tell(self, **words: Any) -> None:
        """Send the process one line; harmless if it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()

    def hear_next(self, timeout_seconds: float) -> Said:
        """Return the next answer. Raises ChildError when the process ends or is silent for too long."""
        try:
            said = self._said.get(timeout=timeout_seconds)
        except queue.Empty as error:
            raise ChildError(f"no answer in {timeout_seconds:.0f} s; {self.last_words()}") from error
        if said is None:
            raise ChildError(self.last_words())
        return said

    def last_words(self) -> str:
        """The end of the process's standard error."""
        self._errors.seek(0)
        return "it said:\n" + (self._errors.read()[-LAST_CHARACTERS:].strip() or "nothing")

    def close(self) -> None:
        """Let the process end, and kill it if it doesn't. Closing twice is harmless."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._hear(json.loads(line))
        self._said.put(None)
