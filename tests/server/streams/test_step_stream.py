"""How a session handles its steps, tested with frames and actions: no socket, no loop, no clock."""

from __future__ import annotations

import numpy as np
import pytest

from p2pinfer.errors import ProtocolError
from p2pinfer.server.streams.actions import (
    FREE_CACHES,
    READ_ON,
    AbandonLane,
    AskForReceipt,
    CloseLane,
    End,
    RunStep,
    Send,
    Tell,
    WaitForReceipt,
    WriteRest,
)
from p2pinfer.server.streams.step_stream import State
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, read_result
from tests.fakes import HIDDEN_SIZE
from tests.server.streams.a_stream import (
    KEY,
    NEXT_KEY,
    RESULTS_KEY,
    TIMES,
    AStream,
    compute,
    step_frame,
    tokens_at,
)


def told(action: object, kind: str) -> pb.ServerFrame:
    """The message to the client, which must be of this kind."""
    assert isinstance(action, Tell)
    assert action.frame.WhichOneof("body") == kind
    return action.frame


def ended(actions: list[object]) -> str:
    """Why the last of these actions ends the session."""
    assert isinstance(actions[-1], End)
    return f"{actions[-1].refused.reason}: {actions[-1].refused.detail}"


class TestSteps:
    def test_a_step_is_run_and_its_outputs_go_to_the_next_hop_with_the_times(self):
        one = AStream()
        (run,) = one.take(step_frame(1, 0, 3))
        assert isinstance(run, RunStep)
        (send,) = one.compute([run])
        step = one.sent([send])
        assert (step.step_id, step.kind, step.times) == (1, StepKind.PREFILL, TIMES)
        assert np.array_equal(step.chunks[0].hidden, tokens_at(0, 3) + 1)
        assert one.stream.outputs_taken("out") == (READ_ON,)
        assert (one.progress.received_step_id, one.progress.computed_step_id) == (1, 1)
        assert (one.progress.sent_step_id, one.progress.tokens_run) == (1, 3)

    def test_the_last_hop_answers_the_client_with_a_result(self):
        one = AStream(is_last_hop=True)
        (send,) = one.run(step_frame(1, 0, 3, outputs=Outputs.LAST))
        result = read_result(send.frame, tokens=1, hops=1, hidden_size=HIDDEN_SIZE, dtype=pb.FLOAT32)
        assert np.array_equal(result.hidden, tokens_at(2, 1) + 1)
        assert result.hop_seconds == [(0.5, 0.25)]

    def test_nothing_is_read_from_a_step_until_its_outputs_are_taken(self):
        one = AStream()
        assert one.stream.readable == ("steps",)
        run = one.take(step_frame(1, 0))
        assert one.stream.readable == ()
        one.compute(run)
        assert one.stream.readable == ()
        one.stream.outputs_taken("out")
        assert one.stream.readable == ("steps",)

    def test_a_step_that_was_seen_before_is_passed_over(self):
        one = AStream()
        one.through(step_frame(1, 0, 2))
        assert one.take(step_frame(1, 0, 2)) == []
        one.through(step_frame(2, 2))
        assert one.take(step_frame(1, 0, 2)) == []
        assert one.stream.lengths == [3]

    def test_a_step_below_the_cached_length_rewinds(self):
        one = AStream()
        one.through(step_frame(1, 0, 5))
        (run,) = one.take(step_frame(2, 2))
        assert run.step.chunks[0].position == 2
        assert one.stream.lengths == [3]

    @pytest.mark.parametrize(
        ("frame", "why"), [(b"x", "no header"), (step_frame(1, 3), "only 0 tokens are cached")]
    )
    def test_a_step_that_breaks_the_contract_ends_the_session(self, frame, why):
        one = AStream()
        assert why in ended(one.take(frame))
        assert one.stream.readable == ()

    def test_what_is_no_frame_ends_the_session(self):
        assert ended([*AStream().stream.lane_broken(ProtocolError("too long"))]) == "bad-step: too long"

    def test_an_engine_that_fails_ends_the_session(self):
        one = AStream()
        one.take(step_frame(1, 0))
        assert "no memory" in ended([*one.stream.failed(MemoryError("no memory"))])


class TestHistory:
    def test_it_is_counted_and_told_but_not_passed_on(self):
        one = AStream()
        caught_up, read_on = one.run(step_frame(0, 0, 4))
        assert told(caught_up, "caught_up").caught_up.tokens == 4
        assert read_on == READ_ON
        assert (one.progress.history_tokens, one.progress.computed_step_id) == (4, 0)
        assert one.progress.done == Work(prefill_tokens=4)

    def test_it_is_passed_on_to_a_hop_that_is_as_new(self):
        one = AStream(pass_history_on=True)
        actions = one.run(step_frame(0, 0, 4))
        step = one.sent(actions)
        assert (step.step_id, step.kind, step.outputs) == (0, StepKind.HISTORY, Outputs.NONE)
        assert np.array_equal(step.chunks[0].hidden, tokens_at(0, 4) + 1)
        assert one.stream.outputs_taken("out") == (READ_ON,)
        assert one.progress.sent_step_id == 0

    def test_the_last_hop_answers_nothing(self):
        caught_up, read_on = AStream(is_last_hop=True).run(step_frame(0, 0, 2))
        assert (told(caught_up, "caught_up").caught_up.tokens, read_on) == (2, READ_ON)

    def test_steps_of_several_pieces_follow_one_another(self):
        one = AStream()
        one.through(step_frame(0, 0, 3))
        caught_up, _ = one.run(step_frame(0, 3, 3))
        assert told(caught_up, "caught_up").caught_up.tokens == 6


class TestUpstream:
    def test_only_a_lane_with_the_key_is_taken_and_only_one(self):
        one = AStream()
        assert not one.stream.offer_steps_lane("thief", NEXT_KEY)
        assert not one.stream.offer_steps_lane("second", KEY)
        assert not one.stream.offer_steps_lane("empty", b"")

    def test_a_second_lane_takes_over_with_its_first_step(self):
        one = AStream()
        one.through(step_frame(1, 0))
        assert one.stream.change_upstream(NEXT_KEY, at_once=False) == []
        assert one.stream.offer_steps_lane("new", NEXT_KEY)
        assert one.stream.readable == ("steps", "new")
        one.through(step_frame(2, 1))  # the older lane still works
        close, run = one.take(step_frame(3, 2), "new")
        assert close == CloseLane("steps")
        one.compute([run])
        one.stream.outputs_taken("out")
        assert one.stream.readable == ("new",)
        assert not one.stream.offer_steps_lane("late", NEXT_KEY)

    def test_a_change_at_once_closes_what_was_there(self):
        one = AStream()
        one.stream.change_upstream(NEXT_KEY, at_once=False)
        one.stream.offer_steps_lane("new", NEXT_KEY)
        closed = one.stream.change_upstream(KEY, at_once=True)
        assert set(closed) == {CloseLane("steps"), CloseLane("new")}
        assert one.stream.readable == ()
        assert not one.stream.offer_steps_lane("old key", NEXT_KEY)
        assert one.stream.offer_steps_lane("newest", KEY)

    def test_a_step_behind_a_gap_is_dropped_after_a_change_and_ends_the_session_before(self):
        one = AStream()
        one.through(step_frame(1, 0, 2))
        one.stream.change_upstream(NEXT_KEY, at_once=True)
        one.stream.offer_steps_lane("new", NEXT_KEY)
        assert one.take(step_frame(3, 3), "new") == []
        assert one.stream.lengths == [2]
        one.through(step_frame(4, 2, 2), "new")
        assert "would reach" in ended(one.take(step_frame(5, 60, 9), "new"))

    def test_a_lane_that_ended_is_closed_and_keeps_its_place(self):
        one = AStream()
        assert one.stream.lane_ended("steps") == (CloseLane("steps"),)
        assert one.stream.readable == ()
        assert not one.stream.offer_steps_lane("again", KEY)
        one.stream.change_upstream(KEY, at_once=True)
        assert one.stream.offer_steps_lane("again", KEY)

    def test_a_change_while_a_step_is_computed_does_not_lose_it(self):
        one = AStream()
        run = one.take(step_frame(1, 0))
        assert one.stream.change_upstream(NEXT_KEY, at_once=True) == [CloseLane("steps")]
        assert one.sent(one.compute(run)).step_id == 1


class TestReceipts:
    def test_one_is_asked_for_when_half_of_the_limit_is_done_and_not_again_before_the_next_half(self):
        one = AStream(limit_tokens=10)
        one.through(step_frame(1, 0, 4))
        ask, _ = one.run(step_frame(2, 4, 2))
        assert ask == AskForReceipt(Work(prefill_tokens=6))
        one.stream.outputs_taken("out")
        assert len(one.run(step_frame(3, 6))) == 1

    def test_a_step_waits_for_the_receipt_and_then_runs(self):
        one = AStream(limit_tokens=5)
        one.through(step_frame(1, 0, 4))
        assert one.take(step_frame(2, 4, 2)) == [WaitForReceipt(Work(4), Work())]
        assert one.progress.received_step_id == 1  # nothing was computed for it
        assert one.stream.readable == ()
        (run,) = one.stream.receipt_came(Work(4))
        assert run.step.step_id == 2
        assert one.stream.receipt_overdue(Work(4)) == ()

    def test_a_receipt_for_too_little_lets_it_wait_on_with_time_of_its_own(self):
        one = AStream(limit_tokens=5)
        one.through(step_frame(1, 0, 5))
        one.take(step_frame(2, 5, 5))
        assert one.stream.receipt_came(Work(1)) == (WaitForReceipt(Work(5), Work(1)),)
        assert one.stream.receipt_overdue(Work()) == ()
        assert "4 tokens of work are not signed for" in ended([*one.stream.receipt_overdue(Work(1))])
        assert one.stream.receipt_came(Work(5)) == ()  # too late

    def test_a_receipt_that_comes_early_lets_the_next_step_begin_at_once(self):
        one = AStream(limit_tokens=5)
        one.through(step_frame(1, 0, 5))
        assert one.stream.receipt_came(Work(5)) == ()
        (run,) = one.take(step_frame(2, 5, 5))
        assert isinstance(run, RunStep)


class TestOutputs:
    def test_hello_goes_before_the_first_frame_only(self):
        one = AStream(led=False)
        assert one.stream.lead("out", b"hello") == []
        (send,) = one.run(step_frame(1, 0))
        assert (send.lane, send.hello) == ("out", b"hello")
        one.stream.outputs_taken("out")
        (send,) = one.run(step_frame(2, 1))
        assert send.hello is None

    def test_a_frame_waits_for_the_first_lane(self):
        one = AStream(led=False, is_last_hop=True)
        assert one.run(step_frame(1, 0)) == []
        assert not one.stream.accepts_results_lane(KEY)
        assert one.stream.accepts_results_lane(RESULTS_KEY)
        (send,) = one.stream.lead("results")
        assert send.lane == "results"
        assert one.stream.outputs_taken("results") == (READ_ON,)

    def test_only_the_last_hop_has_a_lane_of_results(self):
        assert not AStream().stream.accepts_results_lane(b"")

    def test_what_the_network_takes_in_part_is_left_to_the_event_loop(self):
        one = AStream()
        one.run(step_frame(1, 0))
        assert one.stream.outputs_partly_taken("out") == (WriteRest("out"),)
        assert (one.stream.readable, one.progress.sent_step_id) == ((), 0)
        assert one.stream.outputs_taken("out") == (READ_ON,)
        assert one.progress.sent_step_id == 1

    def test_outputs_that_are_lost_are_told_and_the_session_goes_on_without_their_lane(self):
        one = AStream()
        one.run(step_frame(1, 0))
        lost, close, read_on = one.stream.outputs_lost("out", "reset")
        assert told(lost, "outputs_lost").outputs_lost.detail == "the next hop took no step: reset"
        assert (close, read_on) == (CloseLane("out"), READ_ON)
        assert one.progress.outputs_are_lost
        assert one.run(step_frame(2, 1)) == [READ_ON]  # computed and recorded, not sent
        assert (one.progress.computed_step_id, one.progress.sent_step_id) == (2, 0)
        assert one.stream.lead("new") == []
        assert not one.progress.outputs_are_lost
        (send,) = one.run(step_frame(3, 2))
        assert send.lane == "new"

    def test_a_lane_that_the_event_loop_writes_to_is_closed_by_the_event_loop(self):
        one = AStream(is_last_hop=True)
        one.run(step_frame(1, 0))
        one.stream.outputs_partly_taken("out")
        lost, abandon, _ = one.stream.outputs_lost("out", "nothing for 30 s")
        assert "the client took no result" in told(lost, "outputs_lost").outputs_lost.detail
        assert abandon == AbandonLane("out")

    def test_a_new_lane_in_place_of_one_that_is_written_to_gets_the_next_frame_from_its_beginning(self):
        one = AStream(is_last_hop=True)
        one.run(step_frame(1, 0))
        one.stream.outputs_partly_taken("out")
        assert one.stream.lead("again") == [AbandonLane("out"), READ_ON]
        (send,) = one.run(step_frame(2, 1))
        assert send.lane == "again"
        assert one.stream.outputs_taken("out") == ()  # the event loop's message came too late
        assert one.stream.outputs_lost("out", "reset") == ()
        assert one.stream.state is State.SENDING


class TestReplay:
    def test_everything_that_was_sent_comes_again_in_float32_and_in_pieces(self):
        one = AStream()
        one.through(step_frame(1, 0, 5))
        one.through(step_frame(2, 3, 4))  # a rewind by two
        one.stream.replay.begin_replay([2])
        piece = one.stream.replay.next_piece()
        step = one.sent([Send("spare", piece.frame)])
        assert (step.kind, step.chunks[0].position, piece.tokens) == (StepKind.HISTORY, 2, 5)
        assert np.array_equal(step.chunks[0].hidden, tokens_at(2, 5) + 1)
        assert one.stream.replay.next_piece() is None

    def test_a_switch_sends_the_next_outputs_there_and_closes_the_former_lane(self):
        one = AStream()
        one.stream.replay.begin_replay([])
        assert one.stream.switch("spare", pass_history_on=False) == [CloseLane("out")]
        (send,) = one.run(step_frame(1, 0))
        assert (send.lane, send.hello) == ("spare", None)

    def test_what_the_former_lane_has_taken_in_part_is_dropped(self):
        one = AStream()
        one.run(step_frame(1, 0))
        one.stream.outputs_partly_taken("out")
        one.stream.replay.begin_replay([])
        assert one.stream.replay.next_piece().tokens == 1  # the replay covers it
        assert one.stream.switch("spare", pass_history_on=True) == [AbandonLane("out"), READ_ON]
        one.take(step_frame(2, 1))

    def test_a_frame_that_waits_for_a_lane_is_dropped_too(self):
        one = AStream(led=False)
        one.run(step_frame(1, 0))
        one.stream.replay.begin_replay([])
        assert one.stream.switch("spare", pass_history_on=False) == [READ_ON]

    def test_a_switch_while_a_step_is_computed_sends_it_to_the_new_lane(self):
        one = AStream()
        run = one.take(step_frame(1, 0))
        one.stream.replay.begin_replay([])
        assert one.stream.switch("spare", pass_history_on=False) == [CloseLane("out")]
        (send,) = one.compute(run)
        assert send.lane == "spare"

    def test_the_last_hop_has_nothing_to_replay(self):
        with pytest.raises(AssertionError, match="nothing to replay"):
            _ = AStream(is_last_hop=True).stream.replay


class TestRelease:
    def everything_is_let_go(self, one: AStream, *lanes: str) -> None:
        *closed, free = one.stream.release()
        assert {action.lane for action in closed} == set(lanes)
        assert free == FREE_CACHES
        assert one.stream.readable == ()
        assert not one.stream.offer_steps_lane("late", KEY)
        assert not one.stream.accepts_results_lane(RESULTS_KEY)
        assert one.stream.lead("late") == (CloseLane("late"),)
        assert one.stream.receipt_came(Work(1)) == one.stream.receipt_overdue(Work(1)) == ()
        assert one.stream.outputs_taken("out") == one.stream.outputs_lost("out", "reset") == ()

    def test_of_a_stream_that_reads(self):
        self.everything_is_let_go(AStream(), "steps", "out")

    def test_while_two_lanes_bring_steps(self):
        one = AStream()
        one.stream.change_upstream(NEXT_KEY, at_once=False)
        one.stream.offer_steps_lane("new", NEXT_KEY)
        self.everything_is_let_go(one, "steps", "new", "out")

    def test_while_a_step_waits_for_a_receipt(self):
        one = AStream(limit_tokens=1)
        one.take(step_frame(1, 0, 2))
        self.everything_is_let_go(one, "steps", "out")

    def test_while_a_step_is_computed(self):
        one = AStream()
        one.take(step_frame(1, 0))
        self.everything_is_let_go(one, "steps", "out")

    def test_while_outputs_are_written(self):
        one = AStream(is_last_hop=True)
        one.run(step_frame(1, 0))
        one.stream.outputs_partly_taken("out")
        self.everything_is_let_go(one, "steps", "out")

    def test_after_the_outputs_were_lost(self):
        one = AStream()
        one.run(step_frame(1, 0))
        one.stream.outputs_lost("out", "reset")
        self.everything_is_let_go(one, "steps")


def test_the_engines_outputs_may_be_used_again_once_they_are_packed():
    """Outputs are copied into the frame and into the record: views would change with the next batch."""
    one = AStream()
    (run,) = one.take(step_frame(1, 0, 2))
    outputs = compute(run.step)
    (send,) = one.stream.computed(outputs, 0.0, 0.0)
    outputs[0][:] = 0
    assert np.array_equal(one.sent([send]).chunks[0].hidden, tokens_at(0, 2) + 1)
    one.stream.replay.begin_replay([])
    assert one.sent([Send("spare", one.stream.replay.next_piece().frame)]).chunks[0].hidden.any()
