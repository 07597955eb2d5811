"""Which lanes a session's steps come from. Pure: lanes are compared, never read.

There is one lane, and at most one successor. Both are heard, the older one first, until the successor brings
its first step; then it takes the place of the older lane.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Generic

from p2pinfer.server.streams.actions import LaneT


class Upstream(Generic[LaneT]):
    """The lane that brings steps, its successor, and the keys that open them."""

    __slots__ = ("_key", "_next_key", "gap_expected", "lane", "next_lane", "readable")

    def __init__(self, key: bytes) -> None:
        """`key` opens the first lane."""
        self._key: bytes | None = key
        self._next_key: bytes | None = None
        self.lane: LaneT | None = None
        self.next_lane: LaneT | None = None
        self.readable: tuple[LaneT, ...] = ()
        """The lanes that haven't ended, in the order in which they are to be read."""
        self.gap_expected = False
        """True if the upstream has changed: steps that were on their way may have got lost."""

    def offer(self, lane: LaneT, key: bytes) -> bool:
        """Take a lane; False if no lane with this key is expected, or if one is there already.

        A lane that has ended keeps its place: only `change` lets another one in.
        """
        if self.lane is None and _opens(key, self._key):
            self.lane = lane
            self.readable = (lane, *self.readable)
        elif self.next_lane is None and _opens(key, self._next_key):
            self.next_lane = lane
            self.readable = (*self.readable, lane)
        else:
            return False
        return True

    def promote(self) -> LaneT | None:
        """Put the successor into the lane's place. Returns the former lane."""
        former, self.lane, self.next_lane = self.lane, self.next_lane, None
        self._key, self._next_key = self._next_key, None
        self._forget(former)
        return former

    def end(self, lane: LaneT) -> None:
        """Read this lane no more."""
        self._forget(lane)

    def change(self, key: bytes, *, at_once: bool) -> list[LaneT]:
        """Expect a lane with this key: as a successor, or `at_once`. Returns the lanes to close."""
        dropped = [self.next_lane]
        self.next_lane, self._next_key = None, key
        if at_once:
            dropped.append(self.lane)
            self.lane, self._key, self._next_key = None, key, None
        self.gap_expected = True
        for lane in dropped:
            self._forget(lane)
        return [lane for lane in dropped if lane is not None]

    def close(self) -> list[LaneT]:
        """Expect nothing any more. Returns the lanes to close."""
        lanes = [lane for lane in (self.lane, self.next_lane) if lane is not None]
        self.readable = ()
        return lanes

    def _forget(self, lane: LaneT | None) -> None:
        self.readable = tuple(one for one in self.readable if one is not lane)


def _opens(key: bytes, lock: bytes | None) -> bool:
    return lock is not None and compare_digest(lock, key)
