"""KEEP, RECALL and FEED steps are what the contract allows, or an error that says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.prefix_steps import Feed, Prefix
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Contract,
    Outputs,
    RowChunk,
    hop_time,
    pack_feed,
    pack_prefix,
    pack_result,
    pack_step,
    read_result,
    read_step,
)

CONTRACT = Contract(rows=3, max_tokens=10, hidden_size=2, max_step_tokens=5)
LENGTHS = [0, 4, 10]
NAME = bytes(range(32))
TIMES = hop_time(0.25, 0.5) * 2
KEEP, RECALL = StepKind.KEEP, StepKind.RECALL


def prefix_step(kind: StepKind, row: int, tokens: int, name: bytes = NAME, **more) -> bytes:
    return pack_prefix(9, kind, Prefix(row, tokens, name), **more)


@pytest.mark.parametrize("kind", [KEEP, RECALL])
@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("lacking", [None, 0, 1])
def test_a_prefix_is_read_as_it_was_packed(kind: StepKind, is_shared: bool, lacking: int | None):
    prefix = Prefix(2, 7, NAME, is_shared)
    step = read_step(pack_prefix(77, kind, prefix, TIMES, lacking), CONTRACT, LENGTHS)
    assert (step.step_id, step.kind, step.outputs, step.prefix) == (77, kind, Outputs.NONE, prefix)
    assert (step.times, step.lacking, step.hops_passed) == (TIMES, lacking, 2)
    assert (step.chunks, step.work) == ([], Work())


@pytest.mark.parametrize("is_patient", [False, True])
def test_a_feed_is_read_as_it_was_packed(is_patient: bool):
    feed = Feed(2, 3, 8, 3, is_patient)
    step = read_step(pack_feed(77, feed, TIMES), CONTRACT, LENGTHS)
    assert (step.step_id, step.kind, step.feed, step.times) == (77, StepKind.FEED, feed, TIMES)
    assert (step.chunks, step.work, step.prefix) == ([], Work(), None)


def changed(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + bytes([value]) + data[place + 1 :]


HOP, SHARED, PATIENT = 18, 20, 21  # where they are in the header


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (prefix_step(KEEP, 3, 1), "row 3 is not one of 3"),
        (prefix_step(KEEP, 0, 1), "1 tokens of row 0 are to be kept, 0 are cached"),
        (prefix_step(KEEP, 1, 0), "0 tokens"),
        (prefix_step(KEEP, 1, 5), "5 tokens of row 1 are to be kept, 4 are cached"),
        (prefix_step(RECALL, 0, 11), "opened for 10"),
        (prefix_step(RECALL, 0, 2**32 - 1), "opened for 10"),
        (prefix_step(RECALL, 0, 0), "would get 0 tokens"),
        (prefix_step(RECALL, 9, 1), "row 9 is not one of 3"),
        (prefix_step(RECALL, 0, 1, NAME[:-1]), "ends too early"),
        (prefix_step(RECALL, 0, 1, NAME + b"x"), "goes on"),
        (prefix_step(RECALL, 0, 1, b""), "ends too early"),
        (prefix_step(RECALL, 0, 1, times=TIMES, lacking=2), "passed 2 hops names hop 3"),
        (changed(prefix_step(RECALL, 0, 1), SHARED, 2), "fields of other kinds"),
        (changed(pack_feed(9, Feed(1, 0, 4, 1)), SHARED, 1), "fields of other kinds"),
        (changed(pack_feed(9, Feed(1, 0, 4, 1)), PATIENT, 2), "fields of other kinds"),
        (changed(prefix_step(RECALL, 0, 1), PATIENT, 1), "fields of other kinds"),
        (pack_prefix(0, KEEP, Prefix(1, 1, NAME)), "have the id 0"),
        (pack_feed(9, Feed(1, 0, 4, 0)), "has come past hop -1"),
        (pack_feed(9, Feed(1, 0, 4, 2), TIMES), "for hop 2 has come past hop 1"),
        (pack_feed(9, Feed(1, 0, 5, 1)), "up to 5 of row 1 are to be passed on, 4 are cached"),
        (pack_feed(9, Feed(2, 0, 6, 1)), "6 tokens: 1 to 5"),
        (pack_feed(9, Feed(2, 3, 3, 1)), "0 tokens: 1 to 5"),
        (pack_feed(9, Feed(2, 9, 11, 1)), "are to be passed on, 10 are cached"),
        (pack_feed(9, Feed(3, 0, 1, 1)), "row 3 is not one of 3"),
        (pack_feed(9, Feed(1, 0, 1, 1)) + b"x", "goes on"),
        (
            changed(
                pack_step(9, StepKind.PREFILL, [RowChunk(0, 0, np.ones((1, 2)))], Outputs.ALL, pb.FLOAT32),
                SHARED,
                1,
            ),
            "fields of other kinds",
        ),
        (
            changed(
                pack_step(
                    9, StepKind.PREFILL, [RowChunk(0, 0, np.ones((1, 2)))], Outputs.ALL, pb.FLOAT32, TIMES
                ),
                HOP,
                1,
            ),
            "fields of other kinds",
        ),
    ],
)
def test_a_step_that_breaks_the_contract_is_refused_by_name(data: bytes, message: str):
    with pytest.raises(ProtocolError, match=message):
        read_step(data, CONTRACT, LENGTHS)


def test_two_rows_in_one_step_are_refused():
    one = prefix_step(RECALL, 0, 1)
    two = one[:12] + (2).to_bytes(2, "little") + one[14:24] + one[24:36] + one[24:]
    with pytest.raises(ProtocolError, match="about one row, not 2"):
        read_step(two, CONTRACT, LENGTHS)


@given(st.integers(0, 100), st.integers(0, 255), st.sampled_from(["keep", "recall", "feed"]))
def test_a_step_with_one_byte_changed_is_a_step_or_an_error(where: int, value: int, which: str):
    data = {
        "keep": prefix_step(KEEP, 1, 4, times=TIMES, lacking=1),
        "recall": prefix_step(RECALL, 1, 9, times=TIMES),
        "feed": pack_feed(9, Feed(2, 4, 9, 2), TIMES),
    }[which]
    try:
        step = read_step(changed(data, where % len(data), value), CONTRACT, LENGTHS)
    except ProtocolError:
        return
    assert step.tokens == 0 or step.kind.brings_hidden


@pytest.mark.parametrize("lacking", [None, 0, 2])
def test_a_result_says_which_hop_lacked_a_prefix(lacking: int | None):
    times = hop_time(0, 0) * 3
    data = pack_result(9, np.empty((0, 2), np.float32), pb.FLOAT32, times, lacking)
    assert read_result(data, tokens=0, hops=3, hidden_size=2, dtype=pb.FLOAT32).lacking == lacking


def test_a_result_names_no_hop_that_the_chain_does_not_have():
    data = pack_result(9, np.empty((0, 2), np.float32), pb.FLOAT32, hop_time(0, 0), 1)
    with pytest.raises(ProtocolError, match="hop 2 of 1 hops"):
        read_result(data, tokens=0, hops=1, hidden_size=2, dtype=pb.FLOAT32)
