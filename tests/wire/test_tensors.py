"""Bytes become tensors only if they are what was agreed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import InvalidTensorError, ProtocolError
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.steps import Contract, read_step, select_outputs
from p2pinfer.wire.tensors import decode_hidden, encode_hidden


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_what_is_packed_is_unpacked_bit_for_bit(rows, columns, seed):
    hidden = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    again = decode_hidden(encode_hidden(hidden), rows=rows, columns=columns)
    assert again.tobytes() == hidden.tobytes()


def test_views_and_slices_are_packed_as_they_read():
    hidden = np.arange(12, dtype=np.float32).reshape(3, 4)[::-1, ::2]
    assert np.array_equal(decode_hidden(encode_hidden(hidden), rows=3, columns=2), hidden)


@given(
    st.builds(
        pb.Tensor,
        dtype=st.sampled_from([0, 1]),
        rows=st.integers(0, 2**32 - 1),
        columns=st.integers(0, 2**32 - 1),
        data=st.binary(max_size=64),
    )
)
def test_whatever_a_peer_sends_is_a_tensor_as_agreed_or_an_error(tensor):
    try:
        hidden = decode_hidden(tensor, rows=2, columns=4)
    except InvalidTensorError:
        return
    assert hidden.shape == (2, 4) and np.isfinite(hidden).all()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(poison):
    hidden = np.zeros((1, 4), np.float32)
    hidden[0, 2] = poison
    with pytest.raises(InvalidTensorError, match="NaN or infinity"):
        decode_hidden(encode_hidden(hidden), rows=1, columns=4)


chunks = st.builds(
    pb.Chunk,
    row=st.integers(0, 4),
    position=st.integers(0, 12),
    tokens=st.integers(0, 9) | st.just(2**32 - 1),
)


@given(st.lists(chunks, max_size=5), st.integers(0, 20))
def test_whatever_step_comes_its_chunks_fit_the_contract_or_it_is_an_error(parts, tokens):
    contract = Contract(rows=3, max_tokens=10, hidden_size=2, max_step_tokens=12)
    lengths = [0, 4, 10]
    step = pb.Step(step_id=1, chunks=parts, hidden=encode_hidden(np.zeros((tokens, 2), np.float32)))
    try:
        rows = read_step(step, contract, lengths)
    except ProtocolError:
        return
    assert len({row.row for row in rows}) == len(rows) > 0
    assert sum(len(row.hidden) for row in rows) == tokens <= 12
    for row in rows:
        assert row.position <= lengths[row.row] and row.position + len(row.hidden) <= 10


def test_the_last_hop_answers_with_what_was_asked_for():
    outputs = [np.arange(6, dtype=np.float32).reshape(3, 2), np.full((1, 2), 9, np.float32)]
    everything = select_outputs(outputs, pb.ALL)
    last = select_outputs(outputs, pb.LAST)
    assert everything is not None and everything.shape == (4, 2)
    assert last is not None and last.tolist() == [[4, 5], [9, 9]]
    assert select_outputs(outputs, pb.NONE) is None
