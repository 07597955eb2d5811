"""Rotated row-wise absmax INT8, held against bitsandbytes."""

from __future__ import annotations

import hashlib

import bitsandbytes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from p2pinfer.errors import ModelError
from p2pinfer.hadamard import rotate
from p2pinfer.model.engine.reference.bitsandbytes_linear import bitsandbytes_linear
from p2pinfer.model.engine.reference.int8_linear import Float16Linear, Int8Linear, rotated
from p2pinfer.model.quantization import dequantize_rows, quantize_rows
from tests.model.tiny_models import relative_difference


def random_weight(rows: int, columns: int) -> np.ndarray:
    """A weight matrix."""
    return np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)


def test_the_bytes_are_those_of_bitsandbytes():
    """For the rotated weight CB is the rows, and SCB 127 times our scale."""
    weight = random_weight(96, 160)
    rows, scales = quantize_rows(weight)
    expected, absmax, _ = bitsandbytes.functional.int8_vectorwise_quant(torch.from_numpy(rotate(weight)))

    np.testing.assert_array_equal(rows, expected.numpy())
    np.testing.assert_allclose(scales * 127, absmax.numpy(), rtol=1e-6)


def test_the_bytes_are_the_same_on_every_machine():
    """The model's hash depends on it: computed once, written down here."""
    weight = (np.arange(64 * 112, dtype=np.float32).reshape(64, 112) % np.float32(37) - 18) / np.float32(7)
    rows, scales = quantize_rows(weight)

    digest = hashlib.sha256(rows.tobytes() + scales.tobytes()).hexdigest()
    assert digest == "5f5dc609d09dfe767502c57a76700dc1b3c9321b3ffa51616092b969cd1d102c"


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.sampled_from([1, 5, 63, 64, 70, 128])),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
@settings(max_examples=60)
def test_a_rotated_weight_is_off_by_half_a_step_at_most(weight: np.ndarray):
    """For every magnitude of a row. On average the weight's own error is no larger."""
    rows, scales = quantize_rows(weight)
    step = np.maximum(scales[:, None].astype(np.float64), 1e-35)
    error = (dequantize_rows(rows, scales).astype(np.float64) - weight) / step

    assert rows.min() >= -127
    assert (np.abs(rows * scales[:, None] - rotate(weight)) <= 0.501 * step).all()
    assert (np.square(error).mean(axis=1) <= 0.501**2).all()


def test_a_row_of_zeros_stays_zeros():
    """Its scale is zero, not infinity."""
    rows, scales = quantize_rows(np.zeros((2, 8), np.float32))

    assert not rows.any()
    assert not scales.any()


def test_blocks_of_rows_change_nothing():
    """A matrix larger than a block gives the same as its rows one by one."""
    weight = random_weight(3, 1 << 19)
    rows, scales = quantize_rows(weight)
    single, scale = quantize_rows(weight[2:])

    np.testing.assert_array_equal(rows[2:], single)
    np.testing.assert_array_equal(scales[2:], scale)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_is_refused(wrong: float):
    weight = random_weight(2, 8)
    weight[1, 3] = wrong

    with pytest.raises(ModelError, match="not a finite number"):
        quantize_rows(weight)


def test_stored_rows_run_in_bitsandbytes_as_they_are():
    """The CUDA path on a CPU, where bitsandbytes runs too: it doesn't quantize again."""
    rows, scales = quantize_rows(random_weight(48, 64))
    bias = torch.arange(48, dtype=torch.float32)
    linear = bitsandbytes_linear(torch.from_numpy(rows), torch.from_numpy(scales), bias, torch.device("cpu"))
    x = torch.from_numpy(random_weight(5, 64))
    with torch.inference_mode():
        found = Float16Linear(linear)(x)

    expected = x.numpy() @ dequantize_rows(rows, scales).T + bias.numpy()
    assert found.dtype == torch.float32
    assert relative_difference(found.numpy(), expected) < 2e-2


@pytest.mark.parametrize(
    ("inputs", "outputs"), [(576, 1536), (1536, 576), (576, 192), (40, 7), (64, 33), (100, 7)]
)
def test_a_row_has_the_same_bits_among_any_other_rows(inputs: int, outputs: int):
    """Batching and exact replay need this: no sum of the CPU kernels depends on their blocking."""
    rows, scales = quantize_rows(random_weight(outputs, inputs))
    linear = Int8Linear(torch.from_numpy(rows), torch.from_numpy(scales), None)
    x = torch.from_numpy(random_weight(64, inputs))
    with torch.inference_mode():
        whole = linear(x)
        for count in range(1, 64):
            for start in (0, 7, 64 - count):
                assert torch.equal(linear(x[start : start + count]), whole[start : start + count])


@pytest.mark.parametrize("columns", [40, 64, 100, 576])
def test_the_torch_rotation_is_that_of_the_stored_rows(columns: int):
    """Only the order of sums differs."""
    x = random_weight(9, columns)

    np.testing.assert_allclose(rotated(torch.from_numpy(x)).numpy(), rotate(x), atol=2e-6)
