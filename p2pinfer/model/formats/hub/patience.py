"""How long a hub may take, and how often it is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pinfer.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Bounds of one read. A failure after `enough_bytes` of progress is the first one again."""

    most_failures: int = 12  # in a row: about three minutes, most of them waits
    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=1.0, most_seconds=60.0))
    most_wait_seconds: float = 120.0  # however much longer a hub asks to wait
    enough_bytes: int = 1 << 18
    connect_seconds: float = 10.0
    silent_seconds: float = 20.0  # without a byte
    slow_seconds: float = 60.0  # in which `slow_bytes` must come, or the connection is given up
    slow_bytes: int = 1 << 16
    sleep: Callable[[float], None] = time.sleep


PATIENCE = Patience()
"""For a conversion that runs for hours."""
