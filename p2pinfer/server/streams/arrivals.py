"""Lanes that come in, and the streams that they may belong to. On the computing thread."""

from __future__ import annotations

import logging

from p2pinfer.errors import ProtocolError
from p2pinfer.server.compute.compute_thread import ComputeThread
from p2pinfer.server.streams.stream_driver import StreamDriver
from p2pinfer.types import SessionId
from p2pinfer.wire.hello import Hello
from p2pinfer.wire.lanes import Lane

logger = logging.getLogger(__name__)

MAX_STRANGERS = 256
"""Lanes that haven't said hello yet. When one more comes, the oldest is closed."""


class Arrivals:
    """Reads the hello of each new lane, and hands the lane to its stream."""

    def __init__(self, thread: ComputeThread) -> None:
        self._thread = thread
        self._streams: dict[SessionId, StreamDriver] = {}
        self.strangers: dict[Lane, None] = {}
        """Lanes that haven't said hello, the oldest first."""

    def open(self, session_id: SessionId, stream: StreamDriver) -> None:
        """Expect lanes of this session."""
        self._streams[session_id] = stream

    def close(self, session_id: SessionId) -> None:
        """Expect no more lanes of this session, and release its stream."""
        self._streams.pop(session_id).release()

    def meet(self, lane: Lane) -> None:
        """Find out which session's lane this is."""
        if len(self.strangers) >= MAX_STRANGERS:
            self.forget(next(iter(self.strangers)))
        self.strangers[lane] = None
        self._thread.watch(lane, self._read_hello)
        self._read_hello(lane)

    def forget(self, lane: Lane) -> None:
        """Close a lane if it hasn't said hello."""
        if lane in self.strangers:
            del self.strangers[lane]
            self._thread.unwatch(lane)
            lane.close()

    def _read_hello(self, lane: Lane) -> None:
        if lane not in self.strangers:  # it was closed after the selector had seen it
            return
        try:
            frame = lane.receive()
            if frame is None:
                return
            hello = Hello.read(frame)
        except (OSError, EOFError, ProtocolError) as error:
            logger.debug("lane closed: %s", error)
            self.forget(lane)
            return
        self._thread.unwatch(lane)
        # The session was opened before its client could say this hello, but the call that announces it may
        # still be in the thread's inbox. The lookup comes behind it.
        self._thread.call(self._admit, lane, hello)

    def _admit(self, lane: Lane, hello: Hello) -> None:
        """Hand a lane to the stream that its hello names, or close it."""
        if lane not in self.strangers:  # it was closed meanwhile
            return
        stream = self._streams.get(SessionId(hello.session_id))
        if stream is None or not stream.welcome(lane, hello):
            logger.debug("lane closed: no session here has this id and key, or it has another lane already")
            self.forget(lane)
            return
        del self.strangers[lane]
