"""What the thread that computes does for sessions: it reads their steps, runs them in batches, and sends on.

One thread for all three, because every hand-over between threads costs as much as sending the message
did. While a batch runs nothing is read: steps gather in the kernel's buffers, and the next batch takes them
together. A lane is not read while its session has a step here, or outputs that the next hop hasn't taken:
whoever sends too fast is slowed down by TCP itself, and nothing piles up.

Everything else of a session (opening, leases, the way to the next hop, its end) is the event loop's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from p2pinfer.errors import ProtocolError
from p2pinfer.server.compute.batcher import Batcher, Done, QueuedStep, Rows
from p2pinfer.server.compute.compute_thread import Worker
from p2pinfer.server.sessions.accounts import RECEIPT_SECONDS
from p2pinfer.server.sessions.output_lanes import OutputLanes
from p2pinfer.server.sessions.session_table import ServerSession
from p2pinfer.types import SessionId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Reason, Refused, as_refused
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Outputs,
    RowChunk,
    Step,
    hop_time,
    pack_result,
    pack_step,
    read_step,
    select_outputs,
    step_id_of,
)

logger = logging.getLogger(__name__)

MAX_STRANGERS = 256
"""Lanes that haven't said hello yet; when one more comes, the oldest is closed."""

REPLAY_STEP_TOKENS = 128
"""Of a history, in one step: a replay shares the next hop's engine with the steps of others."""

_STRANGER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Piece:
    """The next step of a replay."""

    frame: bytes
    tokens: int


class Runner:
    """Runs a server's sessions on a thread of its own. Use as a context manager in the event loop."""

    def __init__(
        self,
        batcher: Batcher,
        find_session: Callable[[SessionId], ServerSession | None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._batcher = batcher
        self._find_session = find_session
        self._loop = loop
        self._worker = Worker(batcher, loop)
        self._outputs = OutputLanes(self._worker, loop, self._resume)
        self._strangers: dict[Lane, None] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    def __enter__(self) -> Runner:
        self._worker.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for timer in self._timers:  # they would hold the engine in memory
            timer.cancel()
        self._timers.clear()
        self._worker.__exit__(*exception)

    async def wait_failed(self) -> NoReturn:
        """Wait for as long as the thread works. Raises EngineError when it doesn't any more."""
        await self._worker.wait_failed()

    @property
    def queue_depth(self) -> int:
        """Steps that wait or run."""
        return self._batcher.depth

    @property
    def duty(self) -> float:
        """The fraction of time that batches may take."""
        return self._worker.duty

    @property
    def busy_seconds(self) -> float:
        """How long batches have run so far."""
        return self._worker.busy_seconds

    # Called in the event loop.

    def set_duty(self, duty: float) -> None:
        """Let batches take no more than this fraction of the time from now on."""
        self._worker.set_duty(duty)

    def adopt(self, lane: Lane) -> None:
        """Take a lane that was accepted, and find out which session's it is."""
        self._worker.call(partial(self._meet, lane))
        self._later(_STRANGER_SECONDS, lambda: self._worker.call(partial(self._forget_stranger, lane)))

    def lead(self, session: ServerSession, lane: Lane, hello: Hello) -> None:
        """Send the session's outputs on this lane, after the hello."""
        self._worker.call(partial(self._outputs.lead, session, lane, hello))

    def change_upstream(
        self, session: ServerSession, steps_key: bytes, *, at_once: bool
    ) -> asyncio.Future[None]:
        """Let the session's steps come from whoever shows this key. The future may raise Refused."""
        return self._worker.ask(partial(self._change_upstream, session, steps_key, at_once))

    def begin_replay(self, session: ServerSession, held: Sequence[int]) -> asyncio.Future[None]:
        """Let `next_piece` begin behind the `held` tokens of each row. The future may raise Refused."""
        return self._worker.ask(partial(self._begin_replay, session, held))

    def next_piece(
        self, session: ServerSession, switch_to: Lane | None, *, pass_history_on: bool
    ) -> asyncio.Future[Piece | None]:
        """The next step of the session's history; None if nothing is left.

        Then, without a gap, the outputs go to the lane `switch_to` if there is one. The future may raise
        Refused.
        """
        return self._worker.ask(partial(self._next_piece, session, switch_to, pass_history_on))

    def go_on(self, session_id: SessionId) -> None:
        """A receipt has come: begin the step that waited for it."""
        self._worker.call(partial(self._go_on, session_id))

    def release(self, session: ServerSession) -> None:
        """Close the session's lanes and free its caches, once no running batch can be using them."""
        session.released = True
        self._outputs.stop_flushing(session)
        self._worker.call(partial(self._release, session))

    # On the thread: lanes come.

    def _meet(self, lane: Lane) -> None:
        if len(self._strangers) >= MAX_STRANGERS:
            self._forget_stranger(next(iter(self._strangers)))
        self._strangers[lane] = None
        self._worker.watch(lane, partial(self._read_hello, lane))
        self._read_hello(lane)

    def _forget_stranger(self, lane: Lane) -> None:
        if lane in self._strangers:
            del self._strangers[lane]
            self._worker.unwatch(lane)
            lane.close()

    def _read_hello(self, lane: Lane) -> None:
        try:
            frame = lane.receive()
            if frame is None:
                return
            hello = Hello.read(frame)
            session = self._find_session(SessionId(hello.session_id))
            if session is None or not self._welcome(session, lane, hello):
                raise ProtocolError("no session here has this id and key, or another lane is there already")
        except (OSError, EOFError, ProtocolError) as error:
            logger.debug("lane closed: %s", error)
            self._forget_stranger(lane)

    def _welcome(self, session: ServerSession, lane: Lane, hello: Hello) -> bool:
        """Use the lane for what it was opened for, if whoever opened it may."""
        if session.released:
            return False
        if hello.role is Role.RESULTS:
            if not session.accepts_results_lane(hello.key):
                return False
        elif not session.give_steps_lane(lane, hello.key):
            return False
        del self._strangers[lane]
        self._worker.unwatch(lane)
        if hello.role is Role.RESULTS:
            self._outputs.lead(session, lane, None)
        else:
            lane.max_frame_bytes = session.contract.max_step_bytes
            self._read_step(session, lane)
        return True

    # On the thread: steps.

    def _read_step(self, session: ServerSession, lane: Lane) -> None:
        """Begin the session's next step, if it is there and the one before is done with."""
        if lane is session.next_steps and not session.busy and session.steps is not None:
            self._read_lane(session, session.steps)  # what the one before has brought comes first
        self._read_lane(session, lane)

    def _read_lane(self, session: ServerSession, lane: Lane) -> None:
        if session.busy or lane.fileno() < 0:  # it sends ahead: let that wait in the kernel; or it was lost
            self._worker.unwatch(lane)
            return
        try:
            while (frame := lane.receive()) is not None:
                if lane is session.next_steps:
                    self._close_lane(session.promote_steps_lane())
                step_id = step_id_of(frame)
                if step_id == 0 or step_id > session.last_step_id:  # else it was seen before
                    step = self._check_step(session, frame)
                    if step is not None:
                        self._begin_signed(session, step)
                        return
            self._worker.watch(lane, partial(self._read_step, session, lane))
        except (OSError, EOFError) as error:  # why is for the client to find out, from that side's own call
            logger.debug("steps end: %s", error)
            self._close_lane(lane)
        except ProtocolError as error:
            self._worker.unwatch(lane)
            self._end(session, as_refused(error))

    def _check_step(self, session: ServerSession, frame: bytes) -> Step | None:
        """The step of a frame; None if it continues what went astray when the upstream changed.

        The client sends all that wasn't answered again, and what was on its way meanwhile has to come to
        nothing. Raises ProtocolError for what breaks the contract.
        """
        contract = session.contract
        try:
            return read_step(frame, contract, session.lengths)
        except ProtocolError:
            if not session.gap_expected:
                raise
            read_step(frame, contract, [contract.max_tokens] * contract.rows)  # is the gap all that is wrong?
            return None

    def _begin_signed(self, session: ServerSession, step: Step) -> None:
        """Begin a step, or let it wait for the receipt that has to come before."""
        if session.account.may_run(step.tokens):
            session.unsigned_step = None
            self._begin(session, step)
        else:
            session.busy = True
            session.unsigned_step = step
            self._worker.tell(self._wait_for_receipt, session)

    def _go_on(self, session_id: SessionId) -> None:
        session = self._find_session(session_id)
        if session is not None and not session.released and session.unsigned_step is not None:
            self._begin_signed(session, session.unsigned_step)

    def _begin(self, session: ServerSession, step: Step) -> None:
        rows = [Rows(session.caches[chunk.row], chunk.position, chunk.hidden) for chunk in step.chunks]
        session.begin(step)
        session.busy = True
        self._batcher.add(QueuedStep(session.client, step.kind, rows, partial(self._answer, session, step)))

    def _answer(self, session: ServerSession, step: Step, outcome: Done | Exception) -> None:
        if isinstance(outcome, Exception):  # the engine's own failure; the session can't go on
            detail = f"this server could not compute the step: {outcome}"
            self._end(session, Refused(Reason.FAILED, detail))
            return
        session.touch()
        session.account.count(step.work)
        if session.account.is_due():
            self._worker.tell(self._ask_for_receipt, session)
        is_history = step.kind is StepKind.HISTORY
        if is_history:
            self._count_history(session, step)
        else:
            session.computed_step_id = step.step_id
        times = step.times + hop_time(outcome.queue_seconds, outcome.compute_seconds)
        dtype = session.contract.wire_dtype
        if session.history is not None:
            chunks = [
                RowChunk(chunk.row, chunk.position, output)
                for chunk, output in zip(step.chunks, outcome.outputs, strict=True)
            ]
            session.history.record(chunks)
            if not is_history or session.pass_history_on:
                session.unsent = pack_step(step.step_id, step.kind, chunks, step.outputs, dtype, times)
        elif not is_history:
            hidden = select_outputs(outcome.outputs, step.outputs)
            session.unsent = pack_result(step.step_id, hidden, dtype, times)
        session.unsent_step_id = step.step_id
        if session.unsent is None:
            self._resume(session)
        else:
            self._outputs.send(session)

    def _count_history(self, session: ServerSession, step: Step) -> None:
        session.history_tokens += sum(len(chunk.hidden) for chunk in step.chunks)
        caught_up = pb.CaughtUp(tokens=session.history_tokens)
        self._worker.tell(session.outbox.put, pb.ServerFrame(caught_up=caught_up))

    def _resume(self, session: ServerSession) -> None:
        """Read the session's next step; it may have come already."""
        session.busy = False
        if session.released:
            return
        if session.steps is not None:
            self._read_lane(session, session.steps)
        if session.next_steps is not None and not session.busy:
            self._read_lane(session, session.next_steps)

    # On the thread: what the client changes.

    def _change_upstream(self, session: ServerSession, steps_key: bytes, at_once: bool) -> None:
        _check_open(session)
        for lane in session.change_upstream(steps_key, at_once=at_once):
            self._close_lane(lane)

    def _begin_replay(self, session: ServerSession, held: Sequence[int]) -> None:
        _check_open(session)
        assert session.history is not None
        session.history.begin_replay(held)

    def _next_piece(
        self, session: ServerSession, switch_to: Lane | None, pass_history_on: bool
    ) -> Piece | None:
        _check_open(session)
        assert session.history is not None
        session.touch()
        chunks = session.history.take(REPLAY_STEP_TOKENS)
        if chunks:
            frame = pack_step(0, StepKind.HISTORY, chunks, Outputs.NONE, session.contract.wire_dtype)
            return Piece(frame, sum(len(chunk.hidden) for chunk in chunks))
        if switch_to is not None:
            session.history.end_replay()
            self._outputs.switch(session, switch_to, pass_history_on=pass_history_on)
        return None

    def _release(self, session: ServerSession) -> None:
        self._close_lane(session.steps)
        self._close_lane(session.next_steps)
        self._outputs.close(session)
        self._batcher.release(session.caches)

    def _close_lane(self, lane: Lane | None) -> None:
        if lane is not None:
            self._worker.unwatch(lane)
            lane.close()

    # In the event loop again: receipts.

    def _ask_for_receipt(self, session: ServerSession) -> None:
        session.outbox.put(session.account.ask())

    def _wait_for_receipt(self, session: ServerSession) -> None:
        self._ask_for_receipt(session)
        signed = session.account.signed
        self._later(RECEIPT_SECONDS, lambda: self._give_up_receipt(session, signed))

    def _give_up_receipt(self, session: ServerSession, signed: Work) -> None:
        if session.unsigned_step is not None and session.account.signed == signed:
            tokens = session.account.unsigned_tokens
            detail = f"{tokens} tokens of work are not signed for: this server does no more for nothing"
            session.end(Refused(Reason.UNSIGNED, detail))

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something later, if we are still there."""

        def due() -> None:
            self._timers.discard(timer)
            work()

        timer = self._loop.call_later(seconds, due)
        self._timers.add(timer)

    def _end(self, session: ServerSession, refused: Refused) -> None:
        self._worker.tell(session.end, refused)


def _check_open(session: ServerSession) -> None:
    if session.released:
        raise Refused(Reason.UNKNOWN_SESSION, "the session has ended")
