"""Bytes become tensors only if they fit the session's contract."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import InvalidTensorError
from p2pinfer.hadamard import rotate
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.tensors import decode_hidden, encode_hidden, hidden_bytes

DTYPES = [pb.FLOAT32, pb.INT8]


def there_and_back(hidden, dtype):
    data = memoryview(bytes(encode_hidden(hidden, dtype)))
    return decode_hidden(data, *hidden.shape, dtype)


@given(st.integers(0, 5), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_float32_comes_out_bit_for_bit(rows, columns, seed):
    hidden = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    again = there_and_back(hidden, pb.FLOAT32)
    assert again.shape == hidden.shape and again.tobytes() == hidden.tobytes()


@given(st.integers(1, 5), st.integers(1, 200), st.integers(0, 2**32 - 1), st.integers(-30, 30))
def test_rotated_int8_is_off_by_at_most_half_a_step_of_its_group(rows, columns, seed, power):
    hidden = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32) * np.float32(
        2.0**power
    )
    error = there_and_back(hidden, pb.INT8) - hidden
    for start in range(0, columns, 64):
        rotated, off = rotate(hidden[:, start : start + 64]), rotate(error[:, start : start + 64])
        step = np.abs(rotated).max(axis=1, keepdims=True) / 127
        assert (np.abs(off) <= step * 0.501).all()


def test_one_large_value_costs_the_others_of_its_group_little():
    """Without the rotation a step would be 8, and everything else rounded to nothing."""
    hidden = np.random.default_rng(0).standard_normal((100, 64)).astype(np.float32)
    hidden[:, 13] = 1000
    error = there_and_back(hidden, pb.INT8) - hidden
    assert np.sqrt(np.square(error).mean()) < 0.4


@pytest.mark.parametrize("value", [0.0, 1e-38, -1e-31, 1e36])
def test_int8_takes_groups_of_nothing_almost_nothing_and_almost_too_much(value):
    hidden = np.full((2, 70), value, np.float32)
    np.testing.assert_allclose(there_and_back(hidden, pb.INT8), hidden, rtol=1e-6, atol=1e-30)


def test_a_token_is_rounded_the_same_alone_and_among_others():
    hidden = np.random.default_rng(1).standard_normal((7, 100)).astype(np.float32)
    alone = [there_and_back(hidden[i : i + 1], pb.INT8) for i in range(7)]
    assert np.concatenate(alone).tobytes() == there_and_back(hidden, pb.INT8).tobytes()


def test_int8_groups_whose_rotation_overflows_are_refused():
    """The reader refuses them, like all values that aren't finite."""
    with pytest.raises(InvalidTensorError, match="NaN or infinity"):
        there_and_back(np.full((1, 64), 3e38, np.float32), pb.INT8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_and_slices_are_packed_as_they_read(dtype):
    hidden = np.arange(12, dtype=np.float32).reshape(3, 4)[::-1, ::2]
    np.testing.assert_allclose(there_and_back(hidden, dtype), hidden, atol=0.05)


@given(st.binary(max_size=64), st.sampled_from(DTYPES))
def test_whatever_a_peer_sends_is_a_tensor_as_agreed_or_an_error(data, dtype):
    try:
        hidden = decode_hidden(memoryview(data), 2, 4, dtype)
    except InvalidTensorError:
        return
    assert len(data) == hidden_bytes(2, 4, dtype)
    assert hidden.shape == (2, 4) and np.isfinite(hidden).all()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(poison):
    hidden = np.zeros((1, 4), np.float32)
    hidden[0, 2] = poison
    with pytest.raises(InvalidTensorError, match="NaN or infinity"):
        there_and_back(hidden, pb.FLOAT32)
    scale = np.array([poison], "<f4").tobytes()
    with pytest.raises(InvalidTensorError, match="NaN or infinity"):
        decode_hidden(memoryview(scale + bytes([1, 2, 3, 4])), 1, 4, pb.INT8)
