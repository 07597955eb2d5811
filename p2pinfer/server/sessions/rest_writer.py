"""Writes the rest of a frame that the network didn't take at once, while the computing thread works on.

It belongs to the event loop. The computing thread writes nothing to the lane meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pinfer.wire.lanes import Lane

TAKE_SECONDS = 30.0
"""A lane that takes no bytes for this time is lost."""
SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""A lane that takes fewer, after this time, is lost, too."""
_MOVING_SECONDS = 1.0
"""A lane that takes no bytes for this time waits for its reader, not for the network."""


class RestWriter:
    """The lane of one session's outputs, while a frame is half written to it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        written: Callable[[Lane], None],
        lost: Callable[[Lane, str], None],
    ) -> None:
        """Call `written(lane)` when the frame is out, or `lost(lane, why)`."""
        self._loop = loop
        self._written = written
        self._lost = lost
        self._patience: asyncio.TimerHandle | None = None
        self._moved_at = self._gives_up_at = 0.0  # by the loop's clock
        self.lane: Lane | None = None
        """The lane that waits to be written to."""

    @property
    def is_moving(self) -> bool:
        """True while a frame is half written, and its lane takes bytes."""
        return self.lane is not None and self._loop.time() - self._moved_at < _MOVING_SECONDS

    def write(self, lane: Lane) -> None:
        """Write the rest of the lane's frame as the network takes it."""
        self.lane = lane
        self._gives_up_at = self._loop.time() + TAKE_SECONDS + lane.unsent_bytes / SLOWEST_BYTES_PER_SECOND
        self._loop.add_writer(lane.fileno(), self._flush, lane)
        self._be_patient(lane)

    def stop(self, lane: Lane | None = None) -> None:
        """Write no more: to this lane, or (None) at all."""
        if self.lane is not None and lane in (None, self.lane):
            self._loop.remove_writer(self.lane.fileno())
            self.lane = None
            self._lose_patience()

    def _flush(self, lane: Lane) -> None:
        try:
            is_out = lane.flush()
        except OSError as error:
            self._give_up(lane, str(error))
            return
        if is_out:
            self.stop()
            self._written(lane)
        elif self._loop.time() > self._gives_up_at:
            self._give_up(lane, f"fewer than {SLOWEST_BYTES_PER_SECOND} bytes a second")
        else:  # it has taken something: wait for as long again
            self._be_patient(lane)

    def _be_patient(self, lane: Lane) -> None:
        self._lose_patience()
        self._moved_at = self._loop.time()
        why = f"nothing for {TAKE_SECONDS:.0f} s"
        self._patience = self._loop.call_later(TAKE_SECONDS, self._give_up, lane, why)

    def _lose_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self, lane: Lane, why: str) -> None:
        self.stop()
        self._lost(lane, why)
