"""A step is what the contract allows, or an error that says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import Work
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Contract,
    Fork,
    Outputs,
    RowChunk,
    hop_time,
    pack_fork,
    pack_result,
    pack_step,
    read_result,
    read_step,
    select_outputs,
    step_id_of,
)

CONTRACT = Contract(rows=3, max_tokens=10, hidden_size=2, max_step_tokens=12)
LENGTHS = [0, 4, 10]


def hidden(tokens: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((tokens, 2)).astype(np.float32)


def check(data: bytes) -> None:
    """What was read keeps the contract, or it was an error."""
    try:
        step = read_step(data, CONTRACT, LENGTHS)
    except ProtocolError:
        return
    if step.kind is StepKind.FORK:
        assert not step.chunks and step.tokens == 0 and step.work == Work()
        targets, sources = {fork.row for fork in step.forks}, {fork.source for fork in step.forks}
        assert (
            len(targets) == len(step.forks) > 0 and not targets & sources and targets | sources <= {0, 1, 2}
        )
        assert all(1 <= fork.tokens <= LENGTHS[fork.source] for fork in step.forks)
        return
    assert not step.forks
    if not step.kind.brings_hidden:  # test_prefix_steps.py has them
        assert not step.chunks and step.work == Work()
        return
    rows = [chunk.row for chunk in step.chunks]
    assert len(set(rows)) == len(rows) > 0
    assert sum(len(chunk.hidden) for chunk in step.chunks) <= 12
    for chunk in step.chunks:
        assert chunk.hidden.shape[1] == 2 and len(chunk.hidden) > 0 and np.isfinite(chunk.hidden).all()
        assert chunk.position <= LENGTHS[chunk.row] and chunk.position + len(chunk.hidden) <= 10


chunks = st.builds(RowChunk, st.integers(0, 4), st.integers(0, 12), st.integers(0, 9).map(hidden))


@given(
    st.sampled_from(StepKind),
    st.lists(chunks, min_size=1, max_size=5),
    st.sampled_from([pb.FLOAT32, pb.INT8]),
)
def test_whatever_step_comes_its_chunks_fit_the_contract_or_it_is_an_error(kind, parts, dtype):
    check(pack_step(1, kind, parts, Outputs.ALL, dtype))


forks = st.builds(Fork, st.integers(0, 4), st.integers(0, 4), st.integers(0, 12) | st.just(2**32 - 1))


@given(st.lists(forks, max_size=5), st.integers(0, 2), st.binary(max_size=24))
def test_whatever_fork_comes_it_fits_the_contract_or_it_is_an_error(parts, step_id, behind):
    check(pack_fork(step_id, parts) + behind)


@given(st.integers(0, 100), st.integers(0, 255))
def test_a_fork_with_one_byte_changed_is_a_step_or_an_error(where, value):
    data = bytearray(pack_fork(9, [Fork(0, 1, 3), Fork(2, 1, 4)], hop_time(1, 2)))
    data[where % len(data)] = value
    check(bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pack_fork(1, []), "without chunks"),
        (pack_fork(1, [Fork(0, 1, 1)] * 4), "4 chunks in a session of 3 rows"),
        (pack_fork(1, [Fork(3, 1, 1)]), "row 3 is not one of 3"),
        (pack_fork(1, [Fork(0, 1, 1), Fork(0, 2, 1)]), "row 0 .* comes twice"),
        (pack_fork(1, [Fork(0, 3, 1)]), "source 3 is not one of 3"),
        (pack_fork(1, [Fork(1, 1, 1)]), "source 1 .* is itself replaced"),
        (pack_fork(1, [Fork(0, 1, 1), Fork(1, 2, 1)]), "source 1 .* is itself replaced"),
        (pack_fork(1, [Fork(0, 1, 0)]), "row 0 gets no tokens"),
        (pack_fork(1, [Fork(0, 1, 5)]), "would get 5 tokens of row 1 but only 4"),
        (pack_fork(1, [Fork(0, 2, 2**32 - 1)]), "only 10 are cached"),
        (pack_fork(0, [Fork(0, 1, 1)]), "have the id 0"),
        (pack_fork(1, [Fork(0, 1, 1)]) + b"x", "goes on"),
        (pack_fork(1, [Fork(0, 1, 1)])[:-1], "ends before"),
        (pack_step(1, StepKind.FORK, [RowChunk(0, 0, hidden(1))], Outputs.NONE, pb.FLOAT32), "has tokens"),
        (pack_step(1, StepKind.FORK, [RowChunk(0, 0, hidden(0))], Outputs.LAST, pb.FLOAT32), "asks for"),
    ],
)
def test_a_fork_that_breaks_the_contract_is_refused_by_name(data, message):
    with pytest.raises(ProtocolError, match=message):
        read_step(data, CONTRACT, LENGTHS)


def test_a_fork_is_read_as_it_was_packed():
    times, sent = hop_time(0.25, 0.5), [Fork(0, 1, 3), Fork(2, 1, 4)]
    data = pack_fork(77, sent, times)
    step = read_step(data, CONTRACT, LENGTHS)
    assert (step_id_of(data), step.kind, step.outputs) == (77, StepKind.FORK, Outputs.NONE)
    assert (list(step.forks), step.times) == (sent, times)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_step_or_an_error(data):
    check(data)


@given(st.integers(0, 100), st.integers(0, 255))
def test_a_step_with_one_byte_changed_is_a_step_or_an_error(where, value):
    data = bytearray(
        pack_step(
            9,
            StepKind.PREFILL,
            [RowChunk(1, 4, hidden(3)), RowChunk(0, 0, hidden(2))],
            Outputs.LAST,
            pb.FLOAT32,
        )
    )
    data[where % len(data)] = value
    check(bytes(data))


@pytest.mark.parametrize("kind", [StepKind.PREFILL, StepKind.DRAFT, StepKind.AUDIT])
def test_a_step_is_read_as_it_was_packed(kind):
    times = hop_time(0.25, 0.5)
    sent = [RowChunk(1, 4, hidden(3)), RowChunk(0, 0, hidden(2, 1))]
    data = pack_step(77, kind, sent, Outputs.LAST, pb.FLOAT32, times)
    step = read_step(data, CONTRACT, LENGTHS)
    assert step_id_of(data) == step.step_id == 77
    assert step.kind is kind and step.outputs is Outputs.LAST and step.times == times
    for got, was in zip(step.chunks, sent, strict=True):
        assert (got.row, got.position) == (was.row, was.position)
        assert got.hidden.tobytes() == was.hidden.tobytes()


@pytest.mark.parametrize("tokens", [0, 3])
def test_a_result_is_read_as_it_was_packed(tokens):
    times = hop_time(0.25, 0.5) + hop_time(1.0, 1e9)
    data = pack_result(5, hidden(tokens), pb.FLOAT32, times)
    result = read_result(data, tokens=tokens, hops=2, hidden_size=2, dtype=pb.FLOAT32)
    assert result.step_id == 5 and result.hidden.tobytes() == hidden(tokens).tobytes()
    assert result.hop_seconds == [(0.25, 0.5), (1.0, pytest.approx(4294.967295))]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tokens": 2}, "3 hidden states"),
        ({"hops": 2}, "1 of 2 hops"),
        ({"hidden_size": 3}, "bytes"),
        ({"dtype": pb.INT8}, "bytes"),
    ],
)
def test_a_result_other_than_asked_for_is_an_error(asked, message):
    data = pack_result(5, hidden(3), pb.FLOAT32, hop_time(0, 0))
    with pytest.raises(ProtocolError, match=message):
        read_result(data, **{"tokens": 3, "hops": 1, "hidden_size": 2, "dtype": pb.FLOAT32} | asked)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_result_or_an_error(data):
    try:
        result = read_result(data, tokens=1, hops=1, hidden_size=2, dtype=pb.FLOAT32)
    except ProtocolError:
        return
    assert result.hidden.shape == (1, 2)


def test_the_last_hop_answers_with_what_was_asked_for():
    outputs = [np.arange(6, dtype=np.float32).reshape(3, 2), np.full((1, 2), 9, np.float32)]
    assert select_outputs(outputs, Outputs.ALL).shape == (4, 2)
    assert select_outputs(outputs, Outputs.LAST).tolist() == [[4, 5], [9, 9]]
    assert select_outputs(outputs, Outputs.NONE).shape == (0, 2)


def test_a_step_counts_as_what_its_client_says_it_is():
    """A prompt of one token is a prompt; every token of a draft counts as decoded, because a reader waits."""
    row = RowChunk(0, 0, hidden(1))

    def work(kind: StepKind, step_id: int = 1, outputs: Outputs = Outputs.ALL) -> Work:
        return read_step(pack_step(step_id, kind, [row], outputs, pb.FLOAT32), CONTRACT, LENGTHS).work

    assert work(StepKind.DECODE) == work(StepKind.DRAFT) == Work(decode_tokens=1)
    assert work(StepKind.PREFILL) == work(StepKind.AUDIT) == Work(prefill_tokens=1)
    assert work(StepKind.HISTORY, 0, Outputs.NONE) == Work(prefill_tokens=1)
