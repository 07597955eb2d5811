"""The event loop's side of one session's steps: what it asks of the computing thread, and does for it.

Everything here runs in the event loop. It hands work to the thread and never touches the stream itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.compute_thread import ComputeThread
from p2pinfer.server.compute.unsigned_work import TrustIn, UnsignedWork
from p2pinfer.server.frames.incoming import IncomingFrames
from p2pinfer.server.sessions.accounts import RECEIPT_SECONDS, receipt_due
from p2pinfer.server.sessions.lease import Lease
from p2pinfer.server.sessions.rest_writer import RestWriter
from p2pinfer.server.streams.packing import Piece
from p2pinfer.server.streams.step_stream import StepStream
from p2pinfer.server.streams.stream_driver import StreamDriver
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Hello
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Refused

FindRoom: TypeAlias = Callable[[Lease, int], Coroutine[Any, Any, int | Refused]]
"""Takes the cache tokens that a session's rows need; returns how many they may take, or why none."""

_TURN_SECONDS = (0.01, 1.0)
"""How long a step waits before it is looked again whether its turn has come: others may have signed."""


class RunningSession:
    """A lease whose steps are computed. It implements `EventLoopSide` for its driver."""

    def __init__(
        self,
        lease: Lease,
        terms: pb.Terms,
        *,
        thread: ComputeThread,
        batcher: Batcher,
        incoming: IncomingFrames,
        loop: asyncio.AbstractEventLoop,
        unsigned_work: UnsignedWork,
        find_room: FindRoom,
    ) -> None:
        """`unsigned_work` counts what all do on trust; `find_room` finds room that was taken back."""
        self.lease = lease
        self.driver = StreamDriver(
            stream=StepStream(
                contract=lease.contract,
                steps_key=terms.steps_key,
                results_key=terms.results_key,
                pass_history_on=terms.downstream.pass_history_on,
                limit_tokens=lease.account.limit_tokens,
                progress=lease.progress,
                trust=TrustIn(unsigned_work, lambda: lease.guest),
            ),
            contract=lease.contract,
            client=lease.client,
            guest=lambda: lease.guest,
            is_patient=lease.is_patient,
            caches=lease.caches,
            progress=lease.progress,
            batcher=batcher,
            thread=thread,
            incoming=incoming,
            loop_side=self,
        )
        """The computing thread's: hand its methods over, never call them here."""
        self.rest_writer = RestWriter(
            loop, partial(thread.call, self.driver.written), partial(thread.call, self.driver.lost)
        )
        self._thread = thread
        self._loop = loop
        self._find_room = find_room
        self._finding: asyncio.Task[None] | None = None
        self._is_released = False
        self._turn_timer: asyncio.TimerHandle | None = None
        self._receipt_timer: asyncio.TimerHandle | None = None
        self._signed_then = Work()  # when the timer began

    # What the event loop asks of the computing thread.

    def lead(self, lane: Lane, hello: Hello) -> None:
        """Send the session's outputs on this lane, after the hello."""
        self._thread.call(self.driver.lead, lane, hello.pack())

    def change_upstream(self, steps_key: bytes, *, at_once: bool) -> asyncio.Future[None]:
        """Let the session's steps come on a lane with this key. The future may raise Refused."""
        return self._thread.ask(self.driver.change_upstream, steps_key, at_once)

    def begin_replay(self, held: Sequence[int]) -> asyncio.Future[None]:
        """Let `next_piece` begin behind the `held` tokens of each row. The future may raise Refused."""
        return self._thread.ask(self.driver.begin_replay, held)

    def next_piece(self, switch_to: Lane | None, *, pass_history_on: bool) -> asyncio.Future[Piece | None]:
        """The next step of the session's replay; None if nothing is left.

        Then, without a gap, the outputs go to the lane `switch_to` if there is one. The future may raise
        Refused.
        """
        self.lease.touch_for_replay()
        return self._thread.ask(self.driver.next_piece, switch_to, pass_history_on)

    def limit_room(self) -> asyncio.Future[int]:
        """Take back the room that isn't used. The future has the tokens that are; it may raise Refused."""
        return self._thread.ask(self.driver.limit_room)

    def receipt_came(self) -> None:
        """A receipt has come: begin the step that waited for it."""
        self._thread.call(self.driver.receipt_came, self.lease.account.signed)

    def stop(self) -> None:
        """Do nothing for the computing thread any more. It may release the session then."""
        self._is_released = True
        self.rest_writer.stop()
        self._cancel_receipt_timer()
        if self._turn_timer is not None:
            self._turn_timer.cancel()
        if self._finding is not None:
            self._finding.cancel()

    # What the computing thread asks of the event loop.

    def tell_client(self, frame: pb.ServerFrame) -> None:
        """Write a frame into the client's call."""
        self.lease.outbox.put(frame)

    def ask_for_receipt(self, done: Work) -> None:
        """Ask the client to sign for all that was done."""
        self.lease.account.asked = done
        self.lease.outbox.put(receipt_due(done))

    def wait_for_receipt(self, done: Work, signed: Work) -> None:
        """Ask, and tell the thread if none has come in time."""
        if self._is_released:
            return
        self.ask_for_receipt(done)
        if self._receipt_timer is None or self._signed_then != signed:  # else it waits already
            self._cancel_receipt_timer()
            self._signed_then = signed
            self._receipt_timer = self._loop.call_later(RECEIPT_SECONDS, self._receipt_is_overdue)

    def wait_for_turn(self, done: Work, seconds: float) -> None:
        """Ask for a receipt, and let the step begin after so many seconds without one."""
        if self._is_released:
            return
        account = self.lease.account
        if done.tokens > account.signed.tokens and done != account.asked:  # else it was asked before
            self.ask_for_receipt(done)
        if self._turn_timer is not None:
            self._turn_timer.cancel()
        least, most = _TURN_SECONDS
        self._turn_timer = self._loop.call_later(
            min(max(seconds, least), most), self._thread.call, self.driver.turn_came
        )

    def ask_for_room(self, tokens: int) -> None:
        """Give the rows more room, or end the session."""
        if not self._is_released:
            self._finding = self._loop.create_task(self._find(tokens))

    async def _find(self, tokens: int) -> None:
        room = await self._find_room(self.lease, tokens)
        if isinstance(room, Refused):
            self.lease.end(room)
        else:
            self._thread.call(self.driver.room_came, room)

    def end(self, refused: Refused) -> None:
        """End the session for this reason."""
        self.lease.end(refused)

    def write_rest(self, lane: Lane) -> None:
        """Write the rest of a frame, and tell the thread how that ended."""
        if not self._is_released:
            self.rest_writer.write(lane)

    def abandon(self, lane: Lane) -> None:
        """Write no more to this lane, and close it."""
        self.rest_writer.stop(lane)
        lane.close()

    def _receipt_is_overdue(self) -> None:
        self._receipt_timer = None
        self._thread.call(self.driver.receipt_overdue, self._signed_then)

    def _cancel_receipt_timer(self) -> None:
        if self._receipt_timer is not None:
            self._receipt_timer.cancel()
            self._receipt_timer = None
