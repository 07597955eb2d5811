"""Where a session's outputs go. Pure: frames wait here, and lanes are named, never written to."""

from __future__ import annotations

from typing import Generic

from p2pinfer.server.streams.actions import AbandonLane, CloseLane, LaneT, Send


class Outlet(Generic[LaneT]):
    """The lane to the next hop or to the client, and the frame that waits for it."""

    __slots__ = ("_frame", "_hello", "is_lost", "is_writing", "lane")

    def __init__(self) -> None:
        self.lane: LaneT | None = None
        self.is_lost = False
        """True if there was a lane and it failed: outputs are dropped until there is another."""
        self.is_writing = False
        """True while the event loop writes the rest of a frame to the lane."""
        self._hello: bytes | None = None  # to be said before the first frame
        self._frame: bytes | None = None

    def put(self, frame: bytes) -> Send[LaneT] | None:
        """Send a frame; None: it waits for the first lane."""
        self._frame = frame
        return self.send_waiting()

    def send_waiting(self) -> Send[LaneT] | None:
        """Send the frame that waits, if there are a frame and a lane."""
        frame, lane = self._frame, self.lane
        if frame is None or lane is None:
            return None
        hello, self._frame, self._hello = self._hello, None, None
        return Send(lane, frame, hello)

    @property
    def waiting_bytes(self) -> int:
        """How long the frame is that waits for its first lane."""
        return 0 if self._frame is None else len(self._frame)

    def drop_waiting(self) -> None:
        """Forget the frame that waits."""
        self._frame = None

    def replace(
        self, lane: LaneT | None, hello: bytes | None = None
    ) -> list[CloseLane[LaneT] | AbandonLane[LaneT]]:
        """Put a lane into the former one's place; None: it is lost. Returns what to do with it."""
        former, was_writing = self.lane, self.is_writing
        self.lane, self._hello, self.is_lost, self.is_writing = lane, hello, lane is None, False
        if former is None:
            return []
        return [AbandonLane(former) if was_writing else CloseLane(former)]
