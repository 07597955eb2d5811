"""The steps of one session: frames and events in, actions out. Pure: no sockets, no event loop, no clock.

A session has one step here at a time. Its state says what that step waits for:

    READING   -> CROWDED     a step has come, and the room for it was taken back
              -> UNSIGNED    a step has come, and a receipt has to come before it, or its turn
              -> COMPUTING   a step has come
    CROWDED   -> as READING  there is room
    UNSIGNED  -> COMPUTING   the receipt has come, or its turn
    COMPUTING -> SENDING     there are outputs to send
              -> READING     there are none, or their lane is lost
    SENDING   -> READING     the outputs were taken, or are of no use any more
    any       -> ENDED       the session can't go on; its client is told why
    any       -> RELEASED    the session has ended: lanes are closed, caches freed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto
from hmac import compare_digest
from typing import Generic

from p2pinfer.errors import ProtocolError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.server.compute.budget import PAGE_TOKENS
from p2pinfer.server.streams.actions import (
    FREE_CACHES,
    READ_ON,
    Action,
    Actions,
    AskForReceipt,
    AskForRoom,
    CloseLane,
    End,
    LaneT,
    RunStep,
    Tell,
    WaitForReceipt,
    WaitForTurn,
    WriteRest,
)
from p2pinfer.server.streams.allowance import UNLIMITED, Allowance, Trust
from p2pinfer.server.streams.outlet import Outlet
from p2pinfer.server.streams.packing import ResultPacker, StepPacker
from p2pinfer.server.streams.progress import Progress
from p2pinfer.server.streams.room import Room, pages_of
from p2pinfer.server.streams.upstream import Upstream
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Reason, Refused, as_refused
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Contract, Step, hop_time, read_step, step_id_of


class State(Enum):
    """What the session's step waits for."""

    READING = auto()
    CROWDED = auto()
    UNSIGNED = auto()
    COMPUTING = auto()
    SENDING = auto()
    ENDED = auto()
    RELEASED = auto()


READING, CROWDED, UNSIGNED, COMPUTING, SENDING, ENDED, RELEASED = State
"""The states by themselves: Python 3.11 takes 0.1 us to find a member in its class."""


class StepStream(Generic[LaneT]):
    """Belongs to the computing thread.

    Every event is a method that returns the actions that follow from it. A lane is whatever the caller uses
    to name one.
    """

    def __init__(
        self,
        *,
        contract: Contract,
        steps_key: bytes,
        limit_tokens: int,
        progress: Progress,
        results_key: bytes = b"",
        pass_history_on: bool = False,
        trust: Trust = UNLIMITED,
    ) -> None:
        """`steps_key` opens the lane of steps; at the last hop `results_key` opens the lane of results.

        Without a `results_key` another hop follows: outputs are kept for a replay, and HISTORY steps go there
        too if `pass_history_on` says so. At most `limit_tokens` tokens of work may be unsigned, and `trust`
        counts what all sessions of the client do.
        """
        self.state = READING
        self.lengths = [0] * contract.rows
        """Tokens of each row that are cached, or will be when the present step has run."""
        self.upstream: Upstream[LaneT] = Upstream(steps_key)
        self.outlet: Outlet[LaneT] = Outlet()
        self.packer: ResultPacker | StepPacker = (
            ResultPacker(contract) if results_key else StepPacker(contract, pass_history_on=pass_history_on)
        )
        self.allowance = Allowance(limit_tokens, progress, trust)
        self.room = Room(contract.rows, contract.rows * pages_of(contract.max_tokens) * PAGE_TOKENS)
        self._contract = contract
        self._results_key = results_key
        self._progress = progress
        self._step: Step | None = None  # that waits for a receipt, is computed, or whose outputs are sent

    # A step comes.

    @property
    def readable(self) -> tuple[LaneT, ...]:
        """The lanes that may be read now, in this order; none while there is a step."""
        return self.upstream.readable if self.state is READING else ()

    def take_frame(self, lane: LaneT, frame: bytes) -> Actions[LaneT]:
        """A frame has come on one of the `readable` lanes."""
        actions: list[Action[LaneT]] = []
        if lane is self.upstream.next_lane and (former := self.upstream.promote()) is not None:
            actions.append(CloseLane(former))
        try:
            step_id = step_id_of(frame)
            if step_id and step_id <= self._progress.received_step_id:  # it was seen before
                return actions
            step = self._check(frame)
        except ProtocolError as error:
            actions.append(self._end(as_refused(error)))
            return actions
        if step is not None:
            actions.append(self._begin(step))
        return actions

    def lane_broken(self, error: ProtocolError) -> Actions[LaneT]:
        """A lane of steps has brought what is no frame."""
        return (self._end(as_refused(error)),)

    def lane_ended(self, lane: LaneT) -> Actions[LaneT]:
        """A lane of steps has ended. The client learns why from its own call to the hop at the other end."""
        self.upstream.end(lane)
        return (CloseLane(lane),)

    def receipt_came(self, signed: Work) -> Actions[LaneT]:
        """The client has signed for this work, all receipts together."""
        self.allowance.sign(signed)
        return self.turn_came()

    def turn_came(self) -> Actions[LaneT]:
        """The step that waits may be computed unsigned now."""
        if self.state is UNSIGNED and self._step is not None:
            return (self._begin(self._step),)
        return ()

    def limit_room(self) -> int:
        """Take back the room that isn't used. Returns the tokens that are, of all rows together."""
        if self.state is not CROWDED:  # a step that waits for room has asked for more, and is answered
            self.room.tokens = self.room.used_tokens
        return self.room.tokens

    def room_came(self, tokens: int) -> Actions[LaneT]:
        """The rows may take so many tokens together from now on."""
        self.room.tokens = tokens
        if self.state is CROWDED and self._step is not None:
            return (self._begin(self._step),)
        return ()

    def receipt_overdue(self, signed: Work) -> Actions[LaneT]:
        """The time for a receipt is over. `signed` is what was signed for when it began."""
        if self.state is not UNSIGNED or self.allowance.signed != signed:
            return ()
        tokens = self.allowance.unsigned_tokens
        detail = f"{tokens} tokens of work are not signed for, and the time for a receipt is over"
        return (self._end(Refused(Reason.UNSIGNED, detail)),)

    def _check(self, frame: bytes) -> Step | None:
        """Return the step of a frame; None if it continues a step that got lost when the upstream changed.

        The client sends every unanswered step again, so a step behind such a gap is dropped. Raises
        ProtocolError for anything else that breaks the contract.
        """
        contract = self._contract
        try:
            step = read_step(frame, contract, self.lengths)
        except ProtocolError:
            if not self.upstream.gap_expected:
                raise
            read_step(frame, contract, [contract.max_tokens] * contract.rows)  # raises if more is wrong
            return None
        if step.kind is StepKind.FEED and self._results_key:
            raise ProtocolError("a FEED step has come to the last hop")
        return step

    def _begin(self, step: Step) -> RunStep | WaitForReceipt | WaitForTurn | AskForRoom:
        """Begin a step, or let it wait: for room, for the receipt that has to come before, for its turn."""
        self._step, tokens, lengths = step, step.tokens, _lengths_after(step)
        if (needed := self.room.needed(lengths)) > self.room.tokens:
            self.state = CROWDED
            return AskForRoom(needed)
        if not self.allowance.may_run(tokens):
            self.state = UNSIGNED
            return WaitForReceipt(self.allowance.ask(), self.allowance.signed)
        if (seconds := self.allowance.wait_seconds(tokens)) > 0:
            self.state = UNSIGNED
            return WaitForTurn(self.allowance.ask(), seconds)
        self.state = COMPUTING
        self.allowance.begin(tokens)
        for row, length in lengths:
            self.room.take(row, length)
        self._progress.cache_tokens = self.room.used_tokens
        if step.step_id:
            self._progress.received_step_id = step.step_id
        for chunk in step.chunks:
            self.lengths[chunk.row] = chunk.position + len(chunk.hidden)
        for fork in step.forks:
            self.lengths[fork.row] = fork.tokens
        self._progress.tokens_run += tokens
        return RunStep(step)

    # The step is computed.

    def computed(
        self,
        outputs: Sequence[Hidden],
        queue_seconds: float,
        compute_seconds: float,
        *,
        is_lacking: bool = False,
    ) -> Actions[LaneT]:
        """The step was computed: one array [tokens, hidden_size] for each of its chunks, none for forks.

        Of a row that was recalled it is what was sent on, if a hop follows. `is_lacking`: the prefix of a
        KEEP or RECALL step is not kept here, and the row is what it was.
        """
        step = self._step
        assert step is not None
        assert self.state is COMPUTING
        if step.prefix is not None and step.kind is StepKind.RECALL and not is_lacking:
            self.lengths[step.prefix.row] = step.prefix.tokens
        if is_lacking and step.lacking is None:
            step = replace(step, lacking=step.hops_passed)
        actions: list[Action[LaneT]] = []
        self.allowance.count(step.work)
        if self.allowance.is_due():
            actions.append(AskForReceipt(self.allowance.ask()))
        if step.kind is StepKind.HISTORY:
            self._progress.history_tokens += step.tokens
            caught_up = pb.CaughtUp(tokens=self._progress.history_tokens)
            actions.append(Tell(pb.ServerFrame(caught_up=caught_up)))
        else:
            self._progress.computed_step_id = step.step_id
        frame = self.packer.pack(step, outputs, step.times + hop_time(queue_seconds, compute_seconds))
        if frame is None or self.outlet.is_lost:  # what is lost now the client sends again
            actions.append(self._read_on())
            return actions
        self.state = SENDING
        if (send := self.outlet.put(frame)) is not None:
            actions.append(send)
        return actions

    def failed(self, error: Exception) -> Actions[LaneT]:
        """The engine has failed: the session can't go on."""
        detail = f"this server could not compute the step: {error}"
        return (self._end(Refused(Reason.FAILED, detail)),)

    # Its outputs are sent.

    def outputs_taken(self, lane: LaneT) -> Actions[LaneT]:
        """The network has taken the whole frame."""
        if self.state is not SENDING or lane is not self.outlet.lane:
            return ()  # another lane has taken its place meanwhile
        assert self._step is not None
        self.outlet.is_writing = False
        if self._step.step_id:
            self._progress.sent_step_id = self._step.step_id
        return (self._read_on(),)

    def outputs_partly_taken(self, lane: LaneT) -> Actions[LaneT]:
        """The network has taken a part of the frame, or nothing."""
        self.outlet.is_writing = True
        return (WriteRest(lane),)

    def outputs_lost(self, lane: LaneT | None, why: str) -> Actions[LaneT]:
        """The lane has failed, or (None) none has come. The session goes on: the client names another."""
        if self.state is not SENDING or lane is not self.outlet.lane:
            return ()
        self.outlet.drop_waiting()
        whose = "the client took no result" if self._results_key else "the next hop took no step"
        lost = pb.OutputsLost(detail=f"{whose}: {why}")
        return (Tell(pb.ServerFrame(outputs_lost=lost)), *self._replace_outlet(None), self._read_on())

    # Lanes come and change.

    def offer_steps_lane(self, lane: LaneT, key: bytes) -> bool:
        """A lane wants to bring steps. True if it may: then it is one of the `readable` lanes."""
        return self.state is not RELEASED and self.upstream.offer(lane, key)

    def accepts_results_lane(self, key: bytes) -> bool:
        """True if a lane with this key may take the results, also in the place of another lane."""
        is_last_hop = bool(self._results_key)
        return is_last_hop and self.state is not RELEASED and compare_digest(self._results_key, key)

    @property
    def replay(self) -> StepPacker:
        """What was sent, for a hop that comes later. Only a stream with a next hop has it."""
        assert isinstance(self.packer, StepPacker), "the client follows: there is nothing to replay"
        return self.packer

    def lead(self, lane: LaneT, hello: bytes | None = None) -> Actions[LaneT]:
        """Send outputs on this lane from now on, after the hello. A frame that waits goes there too.

        A frame that the former lane has taken in part is dropped: the client asks for it again.
        """
        if self.state is RELEASED:
            return (CloseLane(lane),)
        was_writing = self.outlet.is_writing
        actions: list[Action[LaneT]] = [*self._replace_outlet(lane, hello)]
        if was_writing:
            actions.append(self._read_on())
        elif (send := self.outlet.send_waiting()) is not None:
            actions.append(send)
        return actions

    def change_upstream(self, key: bytes, *, at_once: bool) -> Actions[LaneT]:
        """Let steps come on a lane with this key: after its first step, or `at_once`."""
        return [CloseLane(lane) for lane in self.upstream.change(key, at_once=at_once)]

    def switch(self, lane: LaneT, *, pass_history_on: bool) -> Actions[LaneT]:
        """The replay is complete: send outputs on its lane, on which hello was said, from now on.

        What the former lane hasn't taken is dropped: the replay had it.
        """
        self.replay.end_replay(pass_history_on=pass_history_on)
        actions: list[Action[LaneT]] = [*self._replace_outlet(lane)]
        if self.state is SENDING:
            self.outlet.drop_waiting()
            actions.append(self._read_on())
        return actions

    def _replace_outlet(self, lane: LaneT | None, hello: bytes | None = None) -> Actions[LaneT]:
        self._progress.outputs_are_lost = lane is None
        return self.outlet.replace(lane, hello)

    # The end.

    def release(self) -> Actions[LaneT]:
        """The session has ended. The event loop writes to none of its lanes any more.

        What takes memory is freed now: driver and session refer to each other, and the garbage collector may
        find them much later.
        """
        self.state, self._step = RELEASED, None
        self.allowance.end()
        self.outlet.drop_waiting()
        self.packer.forget()
        lanes = self.upstream.close()
        if self.outlet.lane is not None:
            lanes.append(self.outlet.lane)
        return [*(CloseLane(lane) for lane in lanes), FREE_CACHES]

    def _end(self, refused: Refused) -> End:
        self.state = ENDED
        return End(refused)

    def _read_on(self) -> Action[LaneT]:
        self.state, self._step = READING, None
        return READ_ON


def _lengths_after(step: Step) -> list[tuple[int, int]]:
    """The rows that a step changes, and their tokens when it has run."""
    lengths = [(chunk.row, chunk.position + len(chunk.hidden)) for chunk in step.chunks]
    lengths += [(fork.row, fork.tokens) for fork in step.forks]
    if step.prefix is not None and step.kind is StepKind.RECALL:
        lengths.append((step.prefix.row, step.prefix.tokens))
    return lengths
