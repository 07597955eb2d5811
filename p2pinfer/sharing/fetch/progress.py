"""How far a fetch is, and what it took."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from p2pinfer.types import PeerId

_WINDOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A fetch at one moment."""

    done_bytes: int  # verified and on disk, with what was there before
    total_bytes: int
    bytes_per_second: float  # by which `done_bytes` has grown in the last seconds
    received_by_peer: Mapping[PeerId, int]  # bytes
    converting: str | None = None  # the file that is made from the model's source just now
    stalled: str | None = None  # why nothing comes, if that has been so for a while

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None if nothing comes."""
        if self.bytes_per_second <= 0:
            return None
        return (self.total_bytes - self.done_bytes) / self.bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A fetch that has ended well."""

    received_bytes: int  # from peers, with those that were of no use
    received_by_peer: Mapping[PeerId, int]
    seconds: float
    liars: tuple[PeerId, ...]


class Rate:
    """Bytes per second over the last seconds. The caller has the clock."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def add(self, now: float, done_bytes: int) -> float:
        """Note how many bytes are done now; returns the rate."""
        self._points.append((now, done_bytes))
        while len(self._points) > 2 and self._points[1][0] <= now - _WINDOW_SECONDS:
            self._points.popleft()
        (start, before), seconds = self._points[0], now - self._points[0][0]
        del start
        return (done_bytes - before) / seconds if seconds > 0 else 0.0
