"""How a benchmark that starts processes ends: its exit status, and its message when it can't go on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from p2pinfer.errors import P2PInferError
from scripts.benchmarks.shared.report import say
from scripts.lab import LabUnavailableError

UNAVAILABLE_STATUS = 77


def status_of(name: str, work: Callable[[], int]) -> int:
    """Do the work; return its status, or that of the error that stopped it. SIGTERM is like Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    signal.signal(signal.SIGTERM, _stop)
    try:
        return work()
    except LabUnavailableError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return UNAVAILABLE_STATUS
    except P2PInferError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say(f"{name}: stopped")
        return 128 + signal.SIGINT


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
