"""How far a job is, as plain data for whoever shows it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from p2pinfer.documents.jobs.job import Counts, Spent

_WINDOW_SECONDS = 60.0
_LEAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A job at one moment."""

    counts: Counts
    spent: Spent
    layers: int
    under_way: int
    """Documents that are being answered now."""
    documents_per_second: float | None = None
    """Over the last minute; None while that isn't known."""
    tokens_per_second: float | None = None
    """What servers computed, prefill and decode, over the last minute."""
    waiting_for: str = ""
    """Why nothing goes on, for people; empty: it does."""

    @property
    def layer_tokens(self) -> int:
        """What servers computed for the job, in all its runs."""
        return self.spent.computed_tokens * self.layers

    @property
    def seconds_left(self) -> float | None:
        """Until all documents have an outcome, if it goes on like this; None: that isn't known."""
        if not self.documents_per_second or self.waiting_for:
            return None
        return self.counts.waiting / self.documents_per_second


class Meter:
    """Speeds over a sliding window. Times are seconds of any one clock that never goes back."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def note(self, now: float, *, documents: int, tokens: int) -> None:
        """How many documents and tokens there are by now, from whichever beginning."""
        self._samples.append((now, documents, tokens))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW_SECONDS:
            self._samples.popleft()

    def per_second(self) -> tuple[float, float] | None:
        """Documents and tokens per second; None while that isn't known."""
        if not self._samples:
            return None
        (first, documents_before, tokens_before), (last, documents, tokens) = (
            self._samples[0],
            self._samples[-1],
        )
        seconds = last - first
        if seconds < _LEAST_SECONDS:
            return None
        return (documents - documents_before) / seconds, (tokens - tokens_before) / seconds
