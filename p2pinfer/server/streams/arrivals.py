"""Lanes that come in, and the streams that they may belong to. On the computing thread."""

from __future__ import annotations

import logging

from p2pinfer.errors import ProtocolError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Bound, Lack, Shares
from p2pinfer.server.compute.compute_thread import ComputeThread
from p2pinfer.server.frames.incoming import IncomingFrames, sources_of
from p2pinfer.server.frames.unsent import UnsentOutputs
from p2pinfer.server.streams.stream_driver import StreamDriver
from p2pinfer.types import SessionId
from p2pinfer.wire.hello import Hello
from p2pinfer.wire.lanes import Lane

logger = logging.getLogger(__name__)

STRANGERS = Bound(in_all=256, per_source=128, per_key=256)
"""Lanes that haven't said hello yet. When one more comes, the oldest is closed: of its source, or of all."""


class Arrivals:
    """Reads the hello of each new lane, and hands the lane to its stream."""

    def __init__(self, thread: ComputeThread, incoming: IncomingFrames, most_unsent_bytes: int) -> None:
        """Outputs that nobody takes may have `most_unsent_bytes`, those of all sessions together."""
        self._thread = thread
        self._incoming = incoming
        self._unsent: UnsentOutputs[SessionId] = UnsentOutputs(most_unsent_bytes)
        self._streams: dict[SessionId, StreamDriver] = {}
        self._shares = Shares(STRANGERS)
        self.strangers: dict[Lane, Guest] = {}
        """Lanes that haven't said hello, the oldest first."""

    def open(self, session_id: SessionId, stream: StreamDriver) -> None:
        """Expect lanes of this session."""
        self._streams[session_id] = stream

    def close(self, session_id: SessionId) -> None:
        """Expect no more lanes of this session, and release its stream."""
        self._streams.pop(session_id).release()

    def look(self) -> None:
        """Give up frames that don't come, and outputs that nobody takes; called every second."""
        self._incoming.look()
        unsent = {name: size for name, stream in self._streams.items() if (size := stream.unsent_bytes)}
        for session_id in self._unsent.look(unsent):
            self._streams[session_id].drop_outputs("others need the memory")

    def meet(self, lane: Lane) -> None:
        """Find out which session's lane this is. The hello has to come as soon as any frame."""
        guest = Guest(sources=sources_of(lane))
        if (lack := self._shares.lack(guest)) is not None:
            self.forget(self._first_to_go(guest, lack))
        self._shares.take(guest)
        self.strangers[lane] = guest
        self._incoming.expect(lane, guest, self)
        self._thread.watch(lane, self.read_on)
        self.read_on(lane)

    def reads(self, lane: Lane) -> bool:
        """Every stranger is read."""
        return True

    def give_up(self, lane: Lane) -> None:
        """Close a lane whose hello hasn't come in time."""
        self.forget(lane)

    def forget(self, lane: Lane) -> None:
        """Close a lane if it hasn't said hello."""
        if lane in self.strangers:
            self._let_go(lane)
            self._thread.unwatch(lane)
            lane.close()

    def read_on(self, lane: Lane) -> None:
        """Read the hello, or what there is of it."""
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
        self._let_go(lane)
        stream = self._streams.get(SessionId(hello.session_id))
        if stream is None or not stream.welcome(lane, hello):
            logger.debug("lane closed: no session here has this id and key, or it has another lane already")
            lane.close()

    def _let_go(self, lane: Lane) -> None:
        """It is no stranger any more."""
        self._shares.give_back(self.strangers.pop(lane))
        self._incoming.came(lane)

    def _first_to_go(self, guest: Guest, lack: Lack) -> Lane:
        """The oldest stranger, or the oldest one that comes from where this guest does."""
        if lack is Lack.SOURCE:
            sources = set(guest.sources)
            return next(
                lane for lane, other in self.strangers.items() if not sources.isdisjoint(other.sources)
            )
        return next(iter(self.strangers))
