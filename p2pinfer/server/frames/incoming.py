"""The lanes whose frames have come in part: they get room, wait for it, or are given up.

On the computing thread; `frame_room.py` decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Bound
from p2pinfer.fairness.sources import Source, source_of
from p2pinfer.server.frames.frame_room import SHORT_FRAME_BYTES, Arrived, FrameRoom
from p2pinfer.wire.lanes import Lane

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
_MOST_SECONDS = 1.5
"""One look counts no more: the machine may have slept."""


class Reader(Protocol):
    """Who reads a lane."""

    def reads(self, lane: Lane) -> bool:
        """True if the lane is read now as soon as something comes."""

    def read_on(self, lane: Lane) -> None:
        """Read a lane that has waited for room."""

    def give_up(self, lane: Lane) -> None:
        """Close a lane whose frame doesn't come."""


class Next(Enum):
    """What to do with a lane that has brought no whole frame."""

    WATCH = auto()
    READ = auto()
    """It got room for a longer frame: go on at once."""
    WAIT = auto()
    """Leave it alone until `Reader.read_on`."""


class IncomingFrames:
    """The frames that have come in part, of all lanes of a server."""

    def __init__(
        self,
        bound: Bound,
        call: Callable[..., object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`call(work, *arguments)` has something done soon on the computing thread.

        `clock` may go more slowly while nothing can be read.
        """
        self._room: FrameRoom[Lane] = FrameRoom(bound)
        self._readers: dict[Lane, Reader] = {}
        self._call = call
        self._clock = clock
        self._looked_at = clock()

    def __len__(self) -> int:
        """How many there are. Any thread may ask."""
        return len(self._readers)

    @property
    def bytes_taken(self) -> int:
        """What the longer ones together have room for. Any thread may ask."""
        return self._room.bytes_taken

    def expect(self, lane: Lane, guest: Guest, reader: Reader) -> None:
        """A frame has to come on this lane, whose first byte may be missing yet."""
        self._readers[lane] = reader
        self._room.begin(lane, guest)

    def came_in_part(self, lane: Lane, sender: Callable[[Lane], Guest], reader: Reader) -> Next:
        """A lane has brought no whole frame, maybe nothing: what next?"""
        if not lane.partial_bytes:
            return Next.WATCH
        if lane not in self._readers:
            self.expect(lane, sender(lane), reader)
        if not (lacks := lane.lacks_room_bytes):
            return Next.WATCH
        if not self._room.ask(lane, lacks):
            return Next.WAIT
        lane.room_bytes = lacks
        return Next.READ

    def came(self, lane: Lane) -> None:
        """A whole frame has come, or the lane brings nothing any more."""
        if lane in self._readers:
            del self._readers[lane]
            lane.room_bytes = SHORT_FRAME_BYTES
            if self._room.end(lane):
                self._call(self._give)  # later: another lane is being read

    def look(self) -> None:
        """Give up frames that don't come, so that others get their room."""
        now = self._clock()
        seconds, self._looked_at = min(now - self._looked_at, _MOST_SECONDS), now
        for lane in self._room.look(seconds, self._arrived):
            reader = self._readers.get(lane)
            if reader is not None:  # else another one's end was the end of this one
                logger.debug("a frame came in part: %d bytes, then too little", lane.partial_bytes)
                self.came(lane)
                reader.give_up(lane)

    def _arrived(self, lane: Lane) -> Arrived:
        return Arrived(lane.partial_bytes, self._readers[lane].reads(lane))

    def _give(self) -> None:
        for lane in self._room.give():
            if (reader := self._readers.get(lane)) is not None:  # else another one's step has closed it
                reader.read_on(lane)


def sources_of(lane: Lane) -> tuple[Source, ...]:
    """Where a lane comes from, as far as it is known."""
    return lane.sources or ((source_of(lane.host),) if lane.host else ())
