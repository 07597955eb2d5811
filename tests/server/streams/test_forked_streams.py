"""How a session handles forks of its rows, tested with frames and actions."""

from __future__ import annotations

import numpy as np

from p2pinfer.server.streams.actions import READ_ON, End, RunStep, Send
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Reason
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Fork, read_result
from tests.fakes import HIDDEN_SIZE
from tests.server.streams.a_stream import NEXT_KEY, TIMES, AStream, fork_frame, step_frame, tokens_at


def test_a_fork_is_run_and_goes_to_the_next_hop_with_the_times_and_counts_no_work():
    one = AStream(rows=3)
    one.through(step_frame(1, 0, 5))
    (run,) = one.take(fork_frame(2, (1, 0, 4), (2, 0, 5)))
    assert one.stream.lengths == [5, 4, 5]
    step = one.sent(one.compute([run]))
    assert (step.step_id, step.kind, step.times) == (2, StepKind.FORK, TIMES)
    assert list(step.forks) == [Fork(1, 0, 4), Fork(2, 0, 5)]
    assert one.stream.outputs_taken("out") == (READ_ON,)
    assert one.progress.sent_step_id == one.progress.computed_step_id == 2
    assert one.progress.done == Work(prefill_tokens=5)


def test_the_last_hop_answers_that_it_is_done():
    one = AStream(rows=2, is_last_hop=True)
    one.through(step_frame(1, 0, 5))
    (send,) = one.run(fork_frame(2, (1, 0, 4)))
    result = read_result(send.frame, tokens=0, hops=1, hidden_size=HIDDEN_SIZE, dtype=pb.FLOAT32)
    assert result.step_id == 2
    assert result.hop_seconds == [(0.5, 0.25)]


def test_a_fork_that_is_sent_again_gives_the_same_row_also_if_the_source_has_grown():
    one = AStream(rows=2)
    one.through(step_frame(1, 0, 5))
    one.through(fork_frame(2, (1, 0, 4)))
    one.through(step_frame(3, 4, 3, row=1))
    one.through(step_frame(4, 5, 3))
    one.through(fork_frame(5, (1, 0, 4)))
    assert one.stream.lengths == [8, 4]
    assert np.array_equal(one.stream.replay.sent_outputs.rows()[1], tokens_at(0, 4) + 1)
    assert one.take(fork_frame(2, (1, 0, 4))) == []  # its id was seen


def test_a_fork_of_tokens_that_are_not_there_ends_the_session():
    one = AStream(rows=2)
    one.through(step_frame(1, 0, 5))
    (end,) = one.take(fork_frame(2, (1, 0, 6)))
    assert isinstance(end, End)
    assert end.refused.reason == Reason.BAD_STEP
    assert "row 1 would get 6 tokens of row 0" in end.refused.detail


def test_a_fork_behind_a_gap_is_passed_over():
    """The step that it needs got lost on the way: the client sends both again."""
    one = AStream(rows=2)
    one.through(step_frame(1, 0, 5))
    one.stream.change_upstream(NEXT_KEY, at_once=False)
    assert one.take(fork_frame(3, (1, 0, 6))) == []
    assert one.stream.lengths == [5, 0]


def test_it_needs_no_receipt_even_if_nothing_more_may_be_computed():
    one = AStream(rows=2, limit_tokens=5)
    one.through(step_frame(1, 0, 5))
    assert isinstance(one.take(fork_frame(2, (1, 0, 5)))[-1], RunStep)


def test_rows_that_others_copied_from_can_change_before_their_outputs_are_replayed():
    one = AStream(rows=2)
    one.through(step_frame(1, 0, 5))
    one.through(fork_frame(2, (1, 0, 5)))
    one.through(step_frame(3, 0, 2))
    one.stream.replay.begin_replay(())
    piece = one.stream.replay.next_piece()
    assert piece is not None
    row, copy = one.sent([Send("spare", piece.frame)]).chunks
    assert np.array_equal(row.hidden, tokens_at(0, 2) + 1)
    assert np.array_equal(copy.hidden, tokens_at(0, 5) + 1)
