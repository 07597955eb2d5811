"""What all sources know now, and what is wrong with them.

Sources report here. `on_change` is called when a report changes a value or a trouble. Everything runs in the
event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.readings import Reading, Readings, Signal
from p2pinfer.owner.signals.trouble import SourceError, Trouble

logger = logging.getLogger(__name__)

LOG_AGAIN_SECONDS = 3600.0
"""A trouble that comes and goes all day (a car's Wi-Fi, a weak sensor) is logged once in this time."""


@dataclass(slots=True)
class _Entry:
    """A reading, and what says whether it still counts."""

    reading: Reading
    arrived_at: float
    max_age_seconds: float | None
    expiry: asyncio.TimerHandle | None
    lost: bool = False  # its source can't be reached, so nothing vouches for it


class Known:
    """Readings by signal, troubles by origin."""

    def __init__(
        self, *, now: Callable[[], float], on_change: Callable[[], None], silently: bool = False
    ) -> None:
        """`silently`: log nothing."""
        self._silently = silently
        self._now = now
        self._on_change = on_change
        self._entries: dict[Signal, _Entry] = {}
        self._troubles: dict[tuple[str, Signal | None], SourceError] = {}
        self._lost: dict[str, frozenset[Signal]] = {}  # the signals of each source that can't be reached
        self._logged: dict[tuple[str, str], float] = {}

    def readings(self) -> Readings:
        """What is known now."""
        return {signal: entry.reading for signal, entry in self._entries.items()}

    def troubles(self) -> Mapping[str, str]:
        """What is wrong, by the origin that has the trouble."""
        words: dict[str, list[str]] = {}
        for (origin, _), error in self._troubles.items():
            said = words.setdefault(origin, [])
            if str(error) not in said:
                said.append(str(error))
        return {origin: "; ".join(said) for origin, said in words.items()}

    def reasons(self) -> Mapping[Signal, Trouble]:
        """Why signals aren't known, or soon won't be. A source that can't be reached comes first.

        What was wrong with one of its signals before is no longer of interest then.
        """
        found: dict[Signal, Trouble] = {}
        for (origin, signal), error in self._troubles.items():
            trouble = Trouble(origin=origin, kind=error.kind, words=str(error), advice=error.advice)
            if signal is None:
                found |= dict.fromkeys(self._lost[origin], trouble)
            else:
                found.setdefault(signal, trouble)
        return found

    def tell(
        self,
        signal: Signal,
        told: Told,
        *,
        origin: str,
        max_age_seconds: float | None = None,
    ) -> None:
        """A source reports a value now. It may be vouched for until `max_age_seconds` are over."""
        before = self._entries.get(signal)
        if before is not None and before.expiry is not None:
            before.expiry.cancel()
        now = self._now()
        expiry = None
        if max_age_seconds is not None:
            expiry = asyncio.get_running_loop().call_later(max_age_seconds, self._expire, signal)
        self._entries[signal] = _Entry(
            reading=Reading(value=told.value, at=now, words=told.words, origin=origin),
            arrived_at=now,
            max_age_seconds=max_age_seconds,
            expiry=expiry,
        )
        mended = self._mend(origin, signal)
        if before is None or before.lost or before.reading.value != told.value or mended:
            self._on_change()

    def vouch(self, signals: Collection[Signal]) -> None:
        """The last values of these signals still hold: their source can be reached and reports no change."""
        now = self._now()
        changed = False
        for signal in signals:
            entry = self._entries.get(signal)
            if entry is None:
                continue
            # A timer alone isn't enough: it stands still while the machine sleeps.
            if entry.max_age_seconds is not None and now - entry.arrived_at > entry.max_age_seconds:
                self._expire(signal)
                continue
            mended = self._mend(entry.reading.origin, signal)
            changed = changed or entry.lost or mended
            entry.lost = False
            entry.reading = replace(entry.reading, at=now)
        if changed:
            self._on_change()

    def withdraw(self, signal: Signal, *, origin: str, error: SourceError) -> None:
        """Forget the value of a signal; `error` says why."""
        entry = self._entries.pop(signal, None)
        if entry is not None and entry.expiry is not None:
            entry.expiry.cancel()
        news = self._complain(origin, signal, error)
        if entry is not None or news:
            self._on_change()

    def complain(self, signal: Signal, *, origin: str, error: SourceError) -> None:
        """Note a trouble with a signal. Its last value stays, and grows stale."""
        if self._complain(origin, signal, error):
            self._on_change()

    def lose(self, signals: Collection[Signal], *, origin: str, error: SourceError) -> None:
        """Note that the source of these signals can't be reached. Their last values stay, and grow stale."""
        self._lost[origin] = frozenset(signals)
        news = self._complain(origin, None, error)
        for signal in signals:
            entry = self._entries.get(signal)
            if entry is not None and not entry.lost:
                entry.lost = news = True
        if news:
            self._on_change()

    def well(self, origin: str) -> None:
        """Note that a source of several signals can be reached (again)."""
        if self._mend(origin, None):
            if not self._silently:
                logger.info("%s answers again", origin)
            self._on_change()

    def close(self) -> None:
        """Stop all timers."""
        for entry in self._entries.values():
            if entry.expiry is not None:
                entry.expiry.cancel()

    def _expire(self, signal: Signal) -> None:
        entry = self._entries[signal]
        words = f"nothing new has been published for {entry.max_age_seconds:g} s"
        self.withdraw(signal, origin=entry.reading.origin, error=SourceError(words, kind="old"))

    def _mend(self, origin: str, signal: Signal | None) -> bool:
        return self._troubles.pop((origin, signal), None) is not None

    def _complain(self, origin: str, signal: Signal | None, error: SourceError) -> bool:
        before = self._troubles.get((origin, signal))
        self._troubles[origin, signal] = error
        logged_at = self._logged.get((origin, error.kind))
        if logged_at is None or self._now() - logged_at >= LOG_AGAIN_SECONDS:
            self._logged[origin, error.kind] = self._now()
            if not self._silently:
                logger.warning("%s: %s", origin, error)
        return before is None or before.kind != error.kind
