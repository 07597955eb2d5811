"""Logs errors that are p2pinfer's own fault: with a traceback, and each kind of error once in ten minutes.

A page looks at the swarm every few seconds for months. One record of a stranger that brings out a fault must
neither end the page nor fill the disk with its log.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable

logger = logging.getLogger(__name__)

REPEAT_SECONDS = 600.0


class Faults:
    """The faults of one page. An error is the same if its type and the line that raised it are."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._told: dict[tuple[str, str, int], float] = {}

    def note(self, words: str, error: Exception) -> None:
        """Log `words` with the traceback of `error`, unless the same error was logged a short time ago."""
        origin = traceback.extract_tb(error.__traceback__)[-1:]
        place = (origin[0].filename, origin[0].lineno or 0) if origin else ("", 0)
        key = (type(error).__name__, *place)
        told = self._told.get(key)
        if told is None or self._now() - told >= REPEAT_SECONDS:
            self._told[key] = self._now()
            logger.error("%s", words, exc_info=error)
