"""Where a session's outputs go: the lane to the next hop or to the client, its loss and its replacement.

Outputs are sent by the thread that computes. What the network doesn't take at once is left to the event
loop, which sends the rest while that thread computes for others. A lane that is lost doesn't end the session:
the client is told, and says where else to send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from p2pinfer.server.compute.compute_thread import Worker
from p2pinfer.server.sessions.session_table import ServerSession
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Hello
from p2pinfer.wire.lanes import Lane

TAKE_SECONDS = 30.0
"""A lane that takes nothing for so long is lost."""


class OutputLanes:
    """Sends what sessions have to send. `resume(session)` is called when a step's outputs are dealt with."""

    def __init__(
        self, worker: Worker, loop: asyncio.AbstractEventLoop, resume: Callable[[ServerSession], None]
    ) -> None:
        self._worker = worker
        self._loop = loop
        self._resume = resume

    # On the thread.

    def lead(self, session: ServerSession, lane: Lane, hello: Hello | None) -> None:
        """Send outputs on this lane, after the hello, and no more on the one before; what waits is sent."""
        self._replace(session, lane)
        session.hello = hello
        self.send(session)

    def switch(self, session: ServerSession, lane: Lane, *, pass_history_on: bool) -> None:
        """The same, for a lane on which hello was said and the whole history was sent.

        What the lane before hasn't taken is dropped: it is in that history.
        """
        waiting = session.unsent is not None
        session.unsent = None
        session.pass_history_on = pass_history_on
        self._replace(session, lane)
        if waiting:
            self._resume(session)

    def send(self, session: ServerSession) -> None:
        """Send what is there to be sent, as soon as both the outputs and their lane are."""
        lane, frame = session.outputs, session.unsent
        if frame is None or session.released:
            return
        if lane is None:
            if session.outputs_lost:  # the client sends again what it needs to be answered
                session.unsent = None
                self._resume(session)
            return
        session.unsent = None
        try:
            if session.hello is not None:
                lane.send(session.hello.pack())
                session.hello = None
            if lane.send(frame):
                self._sent(session)
            else:
                session.sending = lane
                self._worker.tell(self._flush_later, session, lane)
        except OSError as error:
            self._lose(session, lane, str(error))

    def close(self, session: ServerSession) -> None:
        """Close the lane for good."""
        if session.outputs is not None:
            session.outputs.close()

    def _sent(self, session: ServerSession) -> None:
        if session.unsent_step_id:
            session.sent_step_id = session.unsent_step_id
        self._resume(session)

    def _replace(self, session: ServerSession, lane: Lane | None) -> None:
        """Put a lane, or none, in the place of the one that is there, which is closed."""
        old, session.outputs, session.hello = session.outputs, lane, None
        session.outputs_lost = lane is None
        if old is None:
            return
        if session.sending is old:  # it's the event loop's to close: it may be writing
            session.sending = None
            self._worker.tell(self._abandon, session, old)
            self._resume(session)
        else:
            old.close()

    def _lose(self, session: ServerSession, lane: Lane, why: str) -> None:
        if session.outputs is not lane or session.released:
            return
        was_sending = session.sending is lane
        whose = "the client took no result" if session.is_last_hop else "the next hop took no step"
        lost = pb.OutputsLost(detail=f"{whose}: {why}")
        self._worker.tell(session.outbox.put, pb.ServerFrame(outputs_lost=lost))
        self._replace(session, None)
        if not was_sending:  # else that has resumed already
            self._resume(session)

    def _flushed(self, session: ServerSession, lane: Lane) -> None:
        if session.sending is lane:  # else it was replaced meanwhile
            session.sending = None
            self._sent(session)

    # In the event loop: the rest of a frame.

    def stop_flushing(self, session: ServerSession) -> None:
        """Write no more to the session's lane."""
        if session.flushing is not None:
            lane, timer = session.flushing
            session.flushing = None
            timer.cancel()
            self._loop.remove_writer(lane.fileno())

    def _flush_later(self, session: ServerSession, lane: Lane) -> None:
        if session.released:
            return
        self._loop.add_writer(lane.fileno(), self._flush, session, lane)
        session.flushing = (lane, self._patience(session, lane))

    def _flush(self, session: ServerSession, lane: Lane) -> None:
        try:
            done = lane.flush()
        except OSError as error:
            self._give_up(session, lane, str(error))
            return
        if done:
            self.stop_flushing(session)
            self._worker.call(partial(self._flushed, session, lane))
        elif session.flushing is not None:  # it takes something: wait for as long again
            session.flushing[1].cancel()
            session.flushing = (lane, self._patience(session, lane))

    def _patience(self, session: ServerSession, lane: Lane) -> asyncio.TimerHandle:
        why = f"nothing for {TAKE_SECONDS:.0f} s"
        return self._loop.call_later(TAKE_SECONDS, self._give_up, session, lane, why)

    def _give_up(self, session: ServerSession, lane: Lane, why: str) -> None:
        self.stop_flushing(session)
        self._worker.call(partial(self._lose, session, lane, why))

    def _abandon(self, session: ServerSession, lane: Lane) -> None:
        if session.flushing is not None and session.flushing[0] is lane:
            self.stop_flushing(session)
        lane.close()
