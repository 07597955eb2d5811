"""How a session handles prefixes that are kept and recalled, tested with frames and actions."""

from __future__ import annotations

import numpy as np
import pytest

from p2pinfer.server.streams.actions import End, RunStep, Send
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.status import Reason
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import hop_time, read_result
from tests.fakes import HIDDEN_SIZE
from tests.server.streams.a_stream import (
    NEXT_KEY,
    TIMES,
    AStream,
    feed_frame,
    prefix_frame,
    step_frame,
    tokens_at,
)

KEEP, RECALL = StepKind.KEEP, StepKind.RECALL
OUTPUTS = tokens_at(0, 5) + 1


def recalled(one: AStream, frame: bytes, *, is_lacking: bool = False) -> Send:
    """What is sent when a recall has run."""
    (run,) = one.take(frame)
    assert isinstance(run, RunStep)
    outputs = [] if is_lacking else [OUTPUTS[: run.step.prefix.tokens]]
    (send,) = one.stream.computed(outputs, 0.5, 0.25, is_lacking=is_lacking)
    return send


def test_a_row_that_is_recalled_can_go_on_and_counts_no_work():
    one = AStream(rows=2)
    send = recalled(one, prefix_frame(1, RECALL, 1, 5))
    step = one.sent([send])
    assert (step.kind, step.times, step.lacking) == (RECALL, TIMES, None)
    assert step.prefix.tokens == 5
    assert one.stream.lengths == [0, 5]
    assert one.progress.done == Work()
    one.stream.outputs_taken("out")
    one.through(step_frame(2, 5, 1, row=1))
    assert one.progress.done == Work(prefill_tokens=1)


def test_a_hop_that_comes_later_is_told_what_was_recalled():
    one = AStream(rows=2)
    recalled(one, prefix_frame(1, RECALL, 1, 5))
    one.stream.outputs_taken("out")
    one.stream.replay.begin_replay(())
    piece = one.stream.replay.next_piece()
    assert piece is not None
    (chunk,) = one.sent([Send("spare", piece.frame)]).chunks
    assert (chunk.row, chunk.position) == (1, 0)
    assert np.array_equal(chunk.hidden, OUTPUTS)


def test_a_hop_that_lacks_it_leaves_the_row_and_says_so_in_what_it_passes_on():
    one = AStream(rows=1)
    one.through(step_frame(1, 0, 3))
    step = one.sent([recalled(one, prefix_frame(2, RECALL, 0, 5, times=TIMES), is_lacking=True)])
    assert step.lacking == 1
    assert one.stream.lengths == [3]


def test_the_first_hop_that_lacks_it_is_the_one_that_is_named():
    one = AStream(rows=1)
    frame = prefix_frame(1, RECALL, 0, 5, times=TIMES * 2, lacking=0)
    assert one.sent([recalled(one, frame, is_lacking=True)]).lacking == 0


def test_the_last_hop_answers_who_lacks_it():
    one = AStream(rows=1, is_last_hop=True)
    send = recalled(one, prefix_frame(1, RECALL, 0, 5, times=TIMES), is_lacking=True)
    result = read_result(send.frame, tokens=0, hops=2, hidden_size=HIDDEN_SIZE, dtype=pb.FLOAT32)
    assert result.lacking == 1


def test_a_keep_step_changes_no_row():
    one = AStream(rows=1)
    one.through(step_frame(1, 0, 3))
    step = one.sent(one.run(prefix_frame(2, KEEP, 0, 2)))
    assert (step.kind, step.prefix.tokens, step.lacking) == (KEEP, 2, None)
    assert one.stream.lengths == [3]


def test_a_hop_before_the_last_that_has_it_passes_a_feed_on():
    one = AStream(rows=1)
    one.through(step_frame(1, 0, 6))
    step = one.sent(one.run(feed_frame(2, 1, 4, hop=2)))
    assert (step.kind, step.feed.start, step.feed.end, step.feed.hop) == (StepKind.FEED, 1, 4, 2)
    assert one.progress.done == Work(prefill_tokens=6)


@pytest.mark.parametrize("is_patient", [False, True])
def test_the_last_that_has_it_feeds_the_next_hop_what_it_has_sent_before(is_patient: bool):
    one = AStream(rows=1)
    one.through(step_frame(1, 0, 6))
    step = one.sent(one.run(feed_frame(2, 1, 4, hop=1, is_patient=is_patient)))
    assert (step.kind, step.times) == (StepKind.PREFILL, hop_time(0.5, 0.25))
    assert step.is_patient is is_patient
    (chunk,) = step.chunks
    assert (chunk.row, chunk.position) == (0, 1)
    assert np.array_equal(chunk.hidden, tokens_at(1, 3) + 1)
    assert one.stream.lengths == [6]
    assert one.progress.done == Work(prefill_tokens=6)


@pytest.mark.parametrize(
    ("frame", "detail"),
    [
        (feed_frame(2, 1, 7, hop=1), "up to 7 of row 0 are to be passed on, 6 are cached"),
        (feed_frame(2, 1, 4, hop=0), "has come past"),
        (prefix_frame(2, KEEP, 0, 7), "7 tokens of row 0 are to be kept"),
        (prefix_frame(2, RECALL, 0, 65), "opened for 64"),
    ],
)
def test_what_breaks_the_contract_ends_the_session(frame: bytes, detail: str):
    one = AStream(rows=1)
    one.through(step_frame(1, 0, 6))
    (end,) = one.take(frame)
    assert isinstance(end, End)
    assert end.refused.reason == Reason.BAD_STEP
    assert detail in end.refused.detail


def test_the_last_hop_feeds_nobody():
    one = AStream(rows=1, is_last_hop=True)
    one.through(step_frame(1, 0, 6))
    (end,) = one.take(feed_frame(2, 1, 4, hop=1))
    assert isinstance(end, End)
    assert "last hop" in end.refused.detail


def test_a_feed_behind_a_gap_is_passed_over():
    """The recall that it needs got lost on the way: the client sends what is missing again."""
    one = AStream(rows=1)
    one.stream.change_upstream(NEXT_KEY, at_once=False)
    assert one.take(feed_frame(2, 0, 4, hop=1)) == []
    assert one.stream.lengths == [0]


def test_none_of_them_needs_a_receipt_even_if_nothing_more_may_be_computed():
    one = AStream(rows=1, limit_tokens=5)
    one.through(step_frame(1, 0, 5))
    assert isinstance(one.take(prefix_frame(2, KEEP, 0, 5))[-1], RunStep)
