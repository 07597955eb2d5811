"""Asking every source once, for `owner check` and `owner init`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from p2pinfer.owner.signals.config import SignalsConfig
from p2pinfer.owner.signals.readings import Readings, Signal
from p2pinfer.owner.signals.sources.all_sources import listen_to_sources
from p2pinfer.owner.signals.trouble import Trouble

PATIENCE_SECONDS = 11.0
"""A source that can't be reached says so after 5 s, a broker that doesn't answer after 10 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the sources said. A signal is in one of the two, or in neither if its source is too slow."""

    readings: Readings
    troubles: Mapping[Signal, Trouble]


async def ask_once(
    config: SignalsConfig,
    *,
    now: Callable[[], float] = time.time,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Heard:
    """Listen until every signal has a value or a trouble, for at most `patience_seconds`."""
    changed = asyncio.Event()
    async with listen_to_sources(config, now=now, on_change=changed.set, silently=True) as signals:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while not config.sources.keys() <= signals.readings().keys() | signals.reasons().keys():
                    changed.clear()
                    await changed.wait()
        troubles = {
            signal: trouble
            for signal, trouble in signals.reasons().items()
            if signal not in signals.readings()
        }
        return Heard(readings=signals.readings(), troubles=troubles)
