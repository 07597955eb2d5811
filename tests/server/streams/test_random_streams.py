"""Invariants of a stream that hold for every event, in every order.

A machine plays the client, the engine, the network and the event loop around one stream. It knows what a
session with these events must have sent, because it computes on plain lists.
"""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pinfer.server.streams.actions import (
    FREE_CACHES,
    AbandonLane,
    AskForReceipt,
    CloseLane,
    End,
    ReadOn,
    RunStep,
    Send,
    Tell,
    WaitForReceipt,
    WriteRest,
)
from p2pinfer.server.streams.step_stream import State
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Step
from tests.server.streams.a_stream import (
    MAX_TOKENS,
    AStream,
    compute,
    feed_frame,
    fork_frame,
    prefix_frame,
    step_frame,
    tokens_at,
)

LIMIT_TOKENS = 6


class Driver(RuleBasedStateMachine):
    """Does the work of `StreamDriver`, one action at a time, with words for lanes."""

    def __init__(self) -> None:
        super().__init__()
        self.one = AStream(rows=2, limit_tokens=LIMIT_TOKENS)
        self.stream = self.one.stream
        self.lanes = {"steps", "out"}  # lanes that were given to the stream and not closed
        self.written_to: str | None = None  # the lane that the event loop writes to
        self.abandoned: set[str] = set()
        self.running: Step | None = None
        self.pending: Send[str] | None = None
        self.waits_for_receipt = False
        self.ended = self.released = False
        self.kept: list[int] = []  # of row 0: the id of the step that last computed each position
        self.forked = 0  # tokens of row 1, which is always a copy of the first ones of row 0
        self.step_id = 0
        self.names = 0
        self.key = b""

    def do(self, actions: object) -> None:
        """Carry actions out, and check each."""
        actions = list(actions)
        assert not any(isinstance(action, ReadOn) for action in actions[:-1])
        for action in actions:
            match action:
                case RunStep():
                    assert self.running is None, "one step at a time"
                    assert not self.released
                    self.running, self.waits_for_receipt = action.step, False
                case Send():
                    assert action.lane in self.lanes, "a closed lane is written to"
                    assert self.written_to is None, "two threads write to a lane"
                    self.pending = action
                case WriteRest():
                    assert action.lane in self.lanes
                    self.written_to = action.lane
                case CloseLane():
                    assert action.lane != self.written_to or self.released, "the event loop is writing"
                    self.lanes.discard(action.lane)
                case AbandonLane():
                    assert action.lane == self.written_to
                    self.lanes.discard(action.lane)
                    self.written_to = None
                case ReadOn():
                    assert self.stream.state is State.READING
                case WaitForReceipt():
                    self.waits_for_receipt = True
                case End():
                    assert not self.ended, "a session ends once"
                    self.ended = True
                case _:
                    assert isinstance(action, AskForReceipt | Tell) or action is FREE_CACHES

    def new_lane(self) -> str:
        self.names += 1
        return f"lane {self.names}"

    @precondition(lambda self: self.stream.readable)
    @rule(data=st.data(), tokens=st.integers(1, 4), back=st.integers(0, 3), history=st.booleans())
    def a_step_comes(self, data, tokens: int, back: int, history: bool) -> None:
        lane = data.draw(st.sampled_from(self.stream.readable))
        position = max(0, self.stream.lengths[0] - back)
        if position + tokens <= MAX_TOKENS:
            self.step_id += not history
            self.do(
                self.stream.take_frame(lane, step_frame(0 if history else self.step_id, position, tokens))
            )

    @precondition(lambda self: self.stream.readable and self.kept)
    @rule(back=st.integers(0, 3))
    def a_fork_comes(self, back: int) -> None:
        self.step_id += 1
        frame = fork_frame(self.step_id, (1, 0, max(1, self.stream.lengths[0] - back)))
        self.do(self.stream.take_frame(self.stream.readable[0], frame))
        assert not self.ended

    @precondition(lambda self: self.stream.readable)
    @rule(tokens=st.integers(1, 9))
    def a_recall_comes(self, tokens: int) -> None:
        self.step_id += 1
        frame = prefix_frame(self.step_id, StepKind.RECALL, 1, tokens)
        self.do(self.stream.take_frame(self.stream.readable[0], frame))
        assert not self.ended

    @precondition(lambda self: self.stream.readable and self.kept)
    @rule(hop=st.integers(1, 2), back=st.integers(0, 3))
    def a_feed_or_a_keep_comes(self, hop: int, back: int) -> None:
        self.step_id += 1
        length = self.stream.lengths[0]
        if back == 3:
            frame = prefix_frame(self.step_id, StepKind.KEEP, 0, length)
        else:
            frame = feed_frame(self.step_id, max(0, length - 1 - back), length, hop=hop)
        self.do(self.stream.take_frame(self.stream.readable[0], frame))
        assert not self.ended

    @precondition(lambda self: self.stream.readable and self.stream.upstream.gap_expected)
    @rule()
    def a_fork_comes_behind_a_gap(self) -> None:
        lengths = list(self.stream.lengths)
        if lengths[0] < MAX_TOKENS:
            self.step_id += 1
            frame = fork_frame(self.step_id, (1, 0, lengths[0] + 1))
            self.do(self.stream.take_frame(self.stream.readable[0], frame))
            assert not self.ended
            assert self.stream.lengths == lengths

    @precondition(lambda self: self.stream.readable and self.one.progress.received_step_id)
    @rule()
    def a_step_comes_again(self) -> None:
        lengths = list(self.stream.lengths)
        frame = step_frame(self.one.progress.received_step_id, 0)
        actions = self.stream.take_frame(self.stream.readable[0], frame)
        assert not any(isinstance(action, RunStep) for action in actions)
        self.do(actions)
        assert self.stream.lengths == lengths

    @precondition(lambda self: self.stream.readable and self.stream.upstream.gap_expected)
    @rule()
    def a_step_comes_behind_a_gap(self) -> None:
        position = self.stream.lengths[0] + 1
        if position < MAX_TOKENS:
            self.step_id += 1
            self.do(self.stream.take_frame(self.stream.readable[0], step_frame(self.step_id, position)))
            assert not self.ended

    @precondition(lambda self: self.stream.readable)
    @rule(data=st.data(), chance=st.integers(0, 4))
    def a_lane_of_steps_ends(self, data, chance: int) -> None:
        if chance == 2:
            self.do(self.stream.lane_ended(data.draw(st.sampled_from(self.stream.readable))))

    @precondition(lambda self: self.running)
    @rule(taken=st.sampled_from(["whole", "part", "nothing"]), is_lacking=st.booleans())
    def the_step_is_computed(self, taken: str, is_lacking: bool) -> None:
        step, self.running, self.pending = self.running, None, None
        for chunk in step.chunks:
            del self.kept[chunk.position :]
            self.kept += [step.step_id] * len(chunk.hidden)
        for fork in step.forks:
            self.forked = fork.tokens
        is_lacking = is_lacking and step.prefix is not None
        outputs = compute(step)
        if step.kind is StepKind.RECALL and not is_lacking:
            self.forked = step.prefix.tokens
            outputs = [tokens_at(0, self.forked) + 1]
        self.do(self.stream.computed(outputs, 0.0, 0.0, is_lacking=is_lacking))
        if step.kind is StepKind.HISTORY:
            assert self.pending is None, "not passed on"
        if (send := self.pending) is not None:
            sent = self.one.sent([send])
            assert sent.forks == step.forks
            assert sent.prefix == step.prefix
            assert sent.lacking == (0 if is_lacking else None)
            if step.feed is not None and step.feed.hop == 1:
                (fed,) = sent.chunks
                assert (sent.kind, fed.position) == (StepKind.PREFILL, step.feed.start)
                assert np.array_equal(fed.hidden, tokens_at(fed.position, step.feed.tokens) + 1)
            else:
                assert sent.feed == step.feed
                for one, chunk in zip(sent.chunks, step.chunks, strict=True):
                    assert np.array_equal(one.hidden, chunk.hidden + 1)
            if taken == "whole":
                self.do(self.stream.outputs_taken(send.lane))
            elif taken == "part":
                self.do(self.stream.outputs_partly_taken(send.lane))
            else:
                self.do(self.stream.outputs_lost(send.lane, "reset"))

    @precondition(lambda self: self.written_to)
    @rule(well=st.booleans())
    def the_event_loop_has_written(self, well: bool) -> None:
        lane = self.written_to
        if well:
            self.written_to = None
            self.do(self.stream.outputs_taken(lane))
        else:
            self.do(self.stream.outputs_lost(lane, "nothing for 30 s"))

    @rule(well=st.booleans())
    def the_event_loop_says_something_too_late(self, well: bool) -> None:
        stale = "a lane of old"
        assert self.stream.outputs_taken(stale) == () if well else True
        assert self.stream.outputs_lost(stale, "reset") == ()

    @precondition(lambda self: not self.released)
    @rule(at_once=st.booleans())
    def the_upstream_changes(self, at_once: bool) -> None:
        self.names += 1
        self.key = self.names.to_bytes(32, "big")
        self.do(self.stream.change_upstream(self.key, at_once=at_once))

    @rule()
    def a_lane_with_the_last_key_comes(self) -> None:
        lane = self.new_lane()
        if self.key and self.stream.offer_steps_lane(lane, self.key):
            assert not self.released
            self.lanes.add(lane)

    @precondition(lambda self: not self.released)
    @rule()
    def another_hop_is_told_everything_and_takes_over(self) -> None:
        held = [len(self.kept) // 2, self.forked // 2]
        self.stream.replay.begin_replay(held)
        tokens = 0
        while (piece := self.stream.replay.next_piece()) is not None:
            for chunk in self.one.sent([Send("spare", piece.frame)]).chunks:
                assert np.array_equal(chunk.hidden, tokens_at(chunk.position, len(chunk.hidden)) + 1)
            tokens += piece.tokens
        assert tokens == len(self.kept) + self.forked - sum(held), "a replay is complete"
        lane = self.new_lane()
        self.lanes.add(lane)
        self.do(self.stream.switch(lane, pass_history_on=False))
        assert self.stream.state is not State.SENDING

    @precondition(lambda self: not self.released)
    @rule()
    def outputs_get_another_lane(self) -> None:
        lane = self.new_lane()
        self.lanes.add(lane)
        self.do(self.stream.lead(lane))

    @rule(missing=st.integers(0, 12))
    def a_receipt_comes(self, missing: int) -> None:
        signed = max(self.one.progress.done.tokens - missing, self.stream.allowance.signed.tokens)
        self.do(self.stream.receipt_came(Work(signed)))

    @precondition(lambda self: self.waits_for_receipt)
    @rule(chance=st.integers(0, 4))
    def the_time_for_a_receipt_is_over(self, chance: int) -> None:
        """Mostly the number of a receipt that another has followed."""
        signed = self.stream.allowance.signed
        self.do(self.stream.receipt_overdue(signed if chance == 2 else Work(10**6)))
        self.waits_for_receipt = not self.ended

    @precondition(lambda self: not self.released)
    @rule(chance=st.integers(0, 20))
    def the_session_ends(self, chance: int) -> None:
        if chance == 7:
            self.released, self.running, self.waits_for_receipt = True, None, False
            self.written_to = None  # the event loop stops before this
            self.do(self.stream.release())
            assert self.lanes == set(), "every lane is closed"

    @invariant()
    def no_more_than_the_limit_is_unsigned(self) -> None:
        assert self.stream.allowance.unsigned_tokens <= LIMIT_TOKENS

    @invariant()
    def the_stream_waits_for_exactly_one_thing(self) -> None:
        waits = {
            State.READING: True,
            State.UNSIGNED: self.waits_for_receipt,
            State.COMPUTING: self.running is not None,
            State.SENDING: self.written_to is not None,
            State.ENDED: self.ended,
            State.RELEASED: self.released,
        }
        assert waits[self.stream.state], "nothing will ever wake it"

    @invariant()
    def what_is_kept_is_what_was_computed(self) -> None:
        kept = [] if self.stream.state is State.RELEASED else [len(self.kept), self.forked]
        assert self.stream.replay.sent_outputs.lengths == kept
        assert set(self.stream.readable) <= self.lanes

    @invariant()
    def progress_never_runs_ahead(self) -> None:
        progress = self.one.progress
        assert progress.sent_step_id <= progress.computed_step_id <= progress.received_step_id <= self.step_id


Driver.TestCase.settings = settings(max_examples=80, stateful_step_count=50)
TestRandomStreams = Driver.TestCase
