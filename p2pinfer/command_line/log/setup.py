"""Where a program's log goes: called once, as the program begins."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from p2pinfer.command_line.log.line_rates import USUAL, VERBOSE
from p2pinfer.command_line.log.spoken_log import SpokenLog

_logger = logging.getLogger("p2pinfer.python")


def log_to(speak: Callable[[str], None], *, verbose: bool = False) -> None:
    """Speak warnings of all libraries, or with `verbose` everything, as often as `SpokenLog` allows.

    What Python itself would write to standard error past the log, of its warnings, of threads that fail and
    of errors that nobody can catch, goes there, too.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[SpokenLog(speak, VERBOSE if verbose else USUAL)],
    )
    logging.captureWarnings(True)
    sys.unraisablehook = _ignored
    threading.excepthook = _thread_failed


def _ignored(unraisable: Any) -> None:
    error = unraisable.exc_value
    _logger.error("an error was ignored: %s", unraisable.err_msg or "at the end of an object", exc_info=error)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    name = failed.thread.name if failed.thread is not None else "unknown"
    _logger.error("the thread %s failed", name, exc_info=failed.exc_value)
