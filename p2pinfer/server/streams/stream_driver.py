"""Carries out what a session's stream decides: reads lanes, fills the batcher, writes lanes.

Everything here runs on the computing thread. One thread reads, computes and sends, because every hand-over
between threads costs as much as sending the message did. While a batch runs nothing is read: steps gather in
the kernel's buffers, and the next batch takes them together. A lane is not read while its session has a step
here: TCP slows down a peer that sends too fast, and nothing piles up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from p2pinfer.errors import ProtocolError
from p2pinfer.fairness.guest import Guest
from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.server.compute.batcher import Batcher, QueuedStep, RowInput
from p2pinfer.server.compute.compute_thread import ComputeThread
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.compute.copies import QueuedCopies, RowCopy
from p2pinfer.server.frames.frame_room import SHORT_FRAME_BYTES
from p2pinfer.server.frames.incoming import IncomingFrames, Next, sources_of
from p2pinfer.server.streams.actions import (
    AbandonLane,
    Actions,
    AskForReceipt,
    AskForRoom,
    CloseLane,
    End,
    FreeCaches,
    ReadOn,
    RunStep,
    Send,
    Tell,
    WaitForReceipt,
    WaitForTurn,
    WriteRest,
)
from p2pinfer.server.streams.packing import Piece
from p2pinfer.server.streams.prefix_runs import PrefixRuns
from p2pinfer.server.streams.progress import Progress
from p2pinfer.server.streams.step_stream import READING, RELEASED, SENDING, StepStream
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.steps import Contract, Step

logger = logging.getLogger(__name__)


class EventLoopSide(Protocol):
    """What a driver asks of the event loop. Every method is called there."""

    def tell_client(self, frame: pb.ServerFrame) -> None:
        """Write a frame into the client's call."""

    def ask_for_receipt(self, done: Work) -> None:
        """Ask the client to sign for all that was done."""

    def wait_for_receipt(self, done: Work, signed: Work) -> None:
        """Ask, and call `receipt_overdue(signed)` if none has come in time."""

    def wait_for_turn(self, done: Work, seconds: float) -> None:
        """Ask the client to sign for all that was done, and call `turn_came` after so many seconds."""

    def ask_for_room(self, tokens: int) -> None:
        """Call `room_came` if there is cache for so many tokens of all rows, or end the session."""

    def end(self, refused: Refused) -> None:
        """End the session for this reason."""

    def write_rest(self, lane: Lane) -> None:
        """Write the rest of a frame, and call `written` or `lost`."""

    def abandon(self, lane: Lane) -> None:
        """Write no more to this lane, and close it."""


class StreamDriver:
    """One session's stream, with real lanes and caches."""

    def __init__(
        self,
        *,
        stream: StepStream[Lane],
        contract: Contract,
        client: bytes,
        guest: Callable[[], Guest],
        is_patient: bool,
        caches: Sequence[SequenceCache],
        progress: Progress,
        batcher: Batcher,
        thread: ComputeThread,
        incoming: IncomingFrames,
        loop_side: EventLoopSide,
    ) -> None:
        """`client` is whose share of the engine steps are charged to, `guest` what it counts as at the time;
        `caches` has one cache per row.

        The steps of one that `is_patient` stand back behind others.
        """
        self.stream = stream
        self._max_step_bytes = contract.max_step_bytes
        self._client = client
        self._guest = guest
        self._is_patient = is_patient
        self._caches = caches
        self._progress = progress
        self._batcher = batcher
        self._thread = thread
        self._incoming = incoming
        self._loop_side = loop_side
        self._prefix_runs = PrefixRuns(
            batcher=batcher, client=client, contract=contract, caches=caches, packer=stream.packer
        )

    # 1. A lane brings a step.

    def readable(self, lane: Lane) -> None:
        """A lane of steps can be read, or has ended."""
        if lane in self.stream.readable:
            self._read()
        else:  # there is a step: whatever was sent ahead waits in the kernel
            self._thread.unwatch(lane)

    def _read(self) -> None:
        """Take frames until a step has begun or nothing more is there."""
        for lane in self.stream.readable:
            self._read_lane(lane)
            if self.stream.state is not READING:
                return

    def _read_lane(self, lane: Lane) -> None:
        try:
            while True:
                if (frame := lane.receive()) is not None:
                    self._incoming.came(lane)
                    self._do(self.stream.take_frame(lane, frame))
                    if self.stream.state is not READING:
                        return
                    continue
                match self._incoming.came_in_part(lane, self._sender, self):
                    case Next.WATCH:
                        self._thread.watch(lane, self.readable)
                        return
                    case Next.WAIT:
                        self._thread.unwatch(lane)
                        return
        except (OSError, EOFError) as error:
            logger.debug("steps end: %s", error)
            self._do(self.stream.lane_ended(lane))
        except ProtocolError as error:
            self._do(self.stream.lane_broken(error))

    def reads(self, lane: Lane) -> bool:
        """True if frames are taken from this lane as they come: there is no step."""
        return lane in self.stream.readable

    def read_on(self, lane: Lane) -> None:
        """There is room for the frame that comes on this lane."""
        if lane in self.stream.readable:
            self._read_lane(lane)

    def give_up(self, lane: Lane) -> None:
        """Close a lane whose frame doesn't come. Its sender notices that; the session goes on without it."""
        self._do(self.stream.lane_ended(lane))

    def _sender(self, lane: Lane) -> Guest:
        """Who sends on a lane: the client, or for it the hop before, from elsewhere."""
        guest = self._guest()
        return replace(guest, sources=sources_of(lane) or guest.sources)

    # 2. The step runs in a batch.

    def _run_step(self, step: Step) -> None:
        self._progress.active_at = time.monotonic()
        if step.forks:
            copies = [
                RowCopy(self._caches[fork.row], self._caches[fork.source], fork.tokens) for fork in step.forks
            ]
            self._batcher.copies.add(QueuedCopies(copies, self.computed))
            return
        if not step.kind.brings_hidden:
            self._prefix_runs.run(step, self.computed)
            return
        rows = [RowInput(self._caches[chunk.row], chunk.position, chunk.hidden) for chunk in step.chunks]
        guest = self._guest()
        source = next(iter(guest.sources), None) if guest.is_known else guest.network
        self._batcher.add(
            QueuedStep(self._client, step.kind, rows, self.computed, self._is_patient, source, guest.is_known)
        )

    def computed(self, outcome: Computed | Exception, is_lacking: bool = False) -> None:
        """The batcher has the outputs of the step, or what the engine raised."""
        if isinstance(outcome, Exception):
            self._do(self.stream.failed(outcome))
            return
        self._progress.active_at = time.monotonic()
        outputs, queue, compute = outcome.outputs, outcome.queue_seconds, outcome.compute_seconds
        self._do(self.stream.computed(outputs, queue, compute, is_lacking=is_lacking))

    # 3. The outputs go on.

    def _send(self, lane: Lane, frame: bytes, hello: bytes | None) -> None:
        try:
            if hello is not None:
                lane.send(hello)
            taken = lane.send(frame)
        except OSError as error:
            self._do(self.stream.outputs_lost(lane, str(error)))
            return
        self._do(self.stream.outputs_taken(lane) if taken else self.stream.outputs_partly_taken(lane))

    @property
    def unsent_bytes(self) -> int:
        """The memory of outputs that nobody has taken yet."""
        outlet = self.stream.outlet
        if self.stream.state is not SENDING:
            return 0
        return outlet.waiting_bytes + (outlet.lane.unsent_bytes if outlet.lane is not None else 0)

    def drop_outputs(self, why: str) -> None:
        """Keep outputs that nobody takes no longer; the client is told."""
        self._do(self.stream.outputs_lost(self.stream.outlet.lane, why))

    def _do(self, actions: Actions[Lane]) -> None:
        """Carry out actions in order; the ones of every token come first here."""
        for action in actions:
            match action:
                case RunStep():
                    self._run_step(action.step)
                case Send():
                    self._send(action.lane, action.frame, action.hello)
                case ReadOn():
                    self._read()
                case AskForReceipt():
                    self._thread.tell(self._loop_side.ask_for_receipt, action.done)
                case WaitForReceipt():
                    self._thread.tell(self._loop_side.wait_for_receipt, action.done, action.signed)
                case WaitForTurn():
                    self._thread.tell(self._loop_side.wait_for_turn, action.done, action.seconds)
                case AskForRoom():
                    self._thread.tell(self._loop_side.ask_for_room, action.tokens)
                case Tell():
                    self._thread.tell(self._loop_side.tell_client, action.frame)
                case WriteRest():
                    self._thread.tell(self._loop_side.write_rest, action.lane)
                case AbandonLane():
                    self._thread.tell(self._loop_side.abandon, action.lane)
                case CloseLane():
                    self._incoming.came(action.lane)
                    self._thread.unwatch(action.lane)
                    action.lane.close()
                case End():
                    self._thread.tell(self._loop_side.end, action.refused)
                case FreeCaches():
                    self._batcher.release(self._caches)
                    self._prefix_runs.release()

    # Lanes come and change; receipts come; the session ends.

    def welcome(self, lane: Lane, hello: Hello) -> bool:
        """Use a lane for what it was opened for. False if its key opens nothing here.

        The lane isn't watched any more: its hello has come.
        """
        if hello.role is Role.RESULTS:
            if not self.stream.accepts_results_lane(hello.key):
                return False
            self._do(self.stream.lead(lane))
            return True
        if not self.stream.offer_steps_lane(lane, hello.key):
            return False
        lane.max_frame_bytes, lane.room_bytes = self._max_step_bytes, SHORT_FRAME_BYTES
        self._read()
        return True

    def lead(self, lane: Lane, hello: bytes) -> None:
        """Send outputs on this lane from now on, after the hello."""
        self._do(self.stream.lead(lane, hello))

    def written(self, lane: Lane) -> None:
        """The event loop has written the rest of a frame."""
        self._do(self.stream.outputs_taken(lane))

    def lost(self, lane: Lane, why: str) -> None:
        """The event loop could not write the rest of a frame."""
        self._do(self.stream.outputs_lost(lane, why))

    def change_upstream(self, key: bytes, at_once: bool) -> None:
        """Let steps come on another lane. Raises Refused."""
        self._check_open()
        self._do(self.stream.change_upstream(key, at_once=at_once))

    def begin_replay(self, held: Sequence[int]) -> None:
        """Let `next_piece` begin behind the `held` tokens of each row. Raises Refused."""
        self._check_open()
        self.stream.replay.begin_replay(held)

    def next_piece(self, switch_to: Lane | None, pass_history_on: bool) -> Piece | None:
        """The next step of the replay. If nothing is left, the outputs go to `switch_to`. Raises Refused."""
        self._check_open()
        piece = self.stream.replay.next_piece()
        if piece is None and switch_to is not None:
            self._do(self.stream.switch(switch_to, pass_history_on=pass_history_on))
        return piece

    def receipt_came(self, signed: Work) -> None:
        """The client has signed for this work, all receipts together."""
        self._do(self.stream.receipt_came(signed))

    def receipt_overdue(self, signed: Work) -> None:
        """The time for a receipt is over; `signed` is what was signed for when it began."""
        self._do(self.stream.receipt_overdue(signed))

    def turn_came(self) -> None:
        """The step that waits may be computed unsigned now."""
        self._do(self.stream.turn_came())

    def limit_room(self) -> int:
        """Take back the room that isn't used; returns what is. Raises Refused."""
        self._check_open()
        return self.stream.limit_room()

    def room_came(self, tokens: int) -> None:
        """The rows may take so many tokens together from now on."""
        self._do(self.stream.room_came(tokens))

    def release(self) -> None:
        """Close the lanes and free the caches. The event loop writes to none of the lanes any more."""
        self._do(self.stream.release())

    def _check_open(self) -> None:
        if self.stream.state is RELEASED:
            raise Refused(Reason.UNKNOWN_SESSION, "the session has ended")
