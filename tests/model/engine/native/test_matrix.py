"""The native matrix product against float64, and against itself in every other way of asking."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import StoreError, UsageError
from p2pinfer.hadamard import rotate
from p2pinfer.model.engine.native import library
from p2pinfer.model.engine.native.matrix import NativeInt8Matrix
from p2pinfer.model.quantization import quantize_rows
from tests.model.engine.native.oracle import ISAS, Array, quantized, random_hidden, relative_difference


def random_matrix(outputs: int, inputs: int) -> tuple[Array, Array]:
    """INT8 rows that use the whole range, and their scales."""
    rng = np.random.default_rng(outputs * 1000 + inputs)
    weight = rng.integers(-127, 128, (outputs, inputs), dtype=np.int8)
    return weight, rng.uniform(0.001, 0.01, outputs).astype(np.float32)


def product_oracle(weight: Array, scale: Array, x: Array) -> Array:
    """In float64, with the activations rotated and quantized as the engine does."""
    return quantized(x) @ (weight * scale[:, None].astype(np.float64)).T


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("outputs", "inputs"), [(17, 40), (1, 1), (16, 64), (100, 65), (576, 1536), (33, 576)]
)
def test_products_agree_with_float64(isa: str, outputs: int, inputs: int):
    """Shapes that fill blocks and groups, and shapes that don't."""
    weight, scale = random_matrix(outputs, inputs)
    matrix = NativeInt8Matrix(weight, scale, threads=2, isa=isa)
    for rows in (1, 2, 7, 70):
        x = random_hidden(rows, inputs)
        found = matrix.multiply(x)
        assert found.shape == (rows, outputs)
        assert relative_difference(found, product_oracle(weight, scale, x)) < 1e-6


@settings(max_examples=40)
@given(st.integers(1, 90), st.integers(1, 200), st.integers(1, 20), st.integers(0, 1 << 30))
def test_every_instruction_set_and_thread_count_gives_the_same_bytes(
    outputs: int, inputs: int, rows: int, seed: int
):
    """A row alone gives the same as a row among others."""
    weight, scale = random_matrix(outputs, inputs)
    x = random_hidden(rows, inputs, seed)
    expected = NativeInt8Matrix(weight, scale, threads=1, isa="portable").multiply(x)
    for isa in ISAS:
        for threads in (1, 2):
            matrix = NativeInt8Matrix(weight, scale, threads=threads, isa=isa)
            np.testing.assert_array_equal(matrix.multiply(x), expected)
            np.testing.assert_array_equal(matrix.multiply(x[-1:]), expected[-1:])


@pytest.mark.parametrize("isa", ISAS)
def test_the_largest_products_do_not_saturate(isa: str):
    """Some 8-bit instructions clip sums of pairs at 16 bits."""
    inputs = 128
    for weight_sign in (1, -1):
        for x_sign in (1, -1):
            weight = np.full((16, inputs), 127 * weight_sign, np.int8)
            matrix = NativeInt8Matrix(weight, np.ones(16, np.float32), threads=1, isa=isa)
            found = matrix.multiply(rotate(np.full((3, inputs), 127.0 * x_sign, np.float32)))
            np.testing.assert_array_equal(
                found, np.full((3, 16), 127.0 * 127 * inputs * weight_sign * x_sign)
            )


def identity(inputs: int, isa: str) -> NativeInt8Matrix:
    """Its products are the quantized activations themselves."""
    return NativeInt8Matrix(np.eye(inputs, dtype=np.int8), np.ones(inputs, np.float32), threads=1, isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("inputs", [63, 64])
def test_activations_round_half_to_even(isa: str, inputs: int):
    """One value of 127 per rotated group makes the scale one, so that the other values stay unchanged."""
    x = np.zeros((1, inputs), np.float32)
    x[0, :6] = [127, 0.5, 1.5, 2.5, -0.5, -3.5]

    np.testing.assert_array_equal(identity(inputs, isa).multiply(rotate(x))[0, :6], [127, 0, 2, 2, 0, -4])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("inputs", [1, 40, 64, 65, 128, 150, 576])
def test_activations_are_rotated_as_the_weights_were(isa: str, inputs: int):
    """The same additions in the same order: not a byte differs from numpy's."""
    x = random_hidden(50, inputs)

    np.testing.assert_array_equal(identity(inputs, isa).multiply(x), quantized(x).astype(np.float32))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("inputs", [64, 100, 576])
def test_products_with_a_quantized_weight_are_close_to_those_with_the_weight(isa: str, inputs: int):
    """A rotation of only one side would give noise."""
    rng = np.random.default_rng(inputs)
    weight = rng.standard_normal((70, inputs)).astype(np.float32)
    x = random_hidden(5, inputs)
    found = NativeInt8Matrix(*quantize_rows(weight), isa=isa).multiply(x)

    assert relative_difference(found, x @ weight.T) < 2e-2


@pytest.mark.parametrize("isa", ISAS)
def test_silent_tiny_and_infinite_activations_are_harmless(isa: str):
    """Nothing traps, and every instruction set gives the same bytes."""
    weight, scale = random_matrix(20, 64)
    x = np.zeros((6, 64), np.float32)
    x[1], x[2, 3], x[3, 3], x[4, 3], x[5, 3] = 1e-40, 1e38, np.inf, -np.inf, np.nan
    found = NativeInt8Matrix(weight, scale, threads=1, isa=isa).multiply(x)
    expected = NativeInt8Matrix(weight, scale, threads=1, isa="portable").multiply(x)

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[:2], 0)


def test_several_threads_may_multiply_at_once():
    """The client's sessions share one head."""
    weight, scale = random_matrix(500, 96)
    matrix = NativeInt8Matrix(weight, scale, threads=2)
    inputs = [random_hidden(1 + seed % 3, 96, seed) for seed in range(40)]
    expected = [matrix.multiply(x) for x in inputs]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(matrix.multiply, inputs))

    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_take_little_more_than_a_byte_each():
    """Packing pads, scales and biases take four bytes per row each."""
    weight, scale = random_matrix(1000, 576)

    assert NativeInt8Matrix(weight, scale).bytes <= 1.05 * weight.size


def test_wrong_shapes_and_types_are_refused():
    """Before the compiled code gets them."""
    weight, scale = random_matrix(3, 8)
    for wrong in (weight[0], weight.astype(np.int32), weight[:, :0]):
        with pytest.raises(ValueError, match="weight must be"):
            NativeInt8Matrix(wrong, scale)
    for wrong in (scale[:2], scale.astype(np.float64)):
        with pytest.raises(ValueError, match="scale must be"):
            NativeInt8Matrix(weight, wrong)
    matrix = NativeInt8Matrix(weight, scale)
    for wrong in (np.ones((1, 7), np.float32), np.ones(8, np.float32), np.ones((1, 8))):
        with pytest.raises(ValueError, match="x must be"):
            matrix.multiply(wrong)
    assert matrix.multiply(np.ones((0, 8), np.float32)).shape == (0, 3)


def test_inputs_that_are_not_contiguous_are_copied():
    """Slices of larger arrays are ordinary arguments."""
    weight, scale = random_matrix(9, 64)
    x = random_hidden(4, 128)
    found = NativeInt8Matrix(weight[::-1], scale[::-1]).multiply(x[::2, ::2])
    expected = NativeInt8Matrix(weight, scale).multiply(np.ascontiguousarray(x[::2, ::2]))

    np.testing.assert_array_equal(found, expected[:, ::-1])


def test_weights_that_no_quantizer_writes_are_refused():
    """-128 would saturate some instruction sets, and an infinite scale poisons every output."""
    weight, scale = random_matrix(3, 8)
    weight[1, 5] = -128
    with pytest.raises(StoreError, match="-128"):
        NativeInt8Matrix(weight, scale)
    weight[1, 5], scale[2] = 0, np.inf
    with pytest.raises(StoreError, match="finite"):
        NativeInt8Matrix(weight, scale)


def test_an_instruction_set_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    """With the list of available ones; also when the environment variable names it."""
    weight, scale = random_matrix(3, 8)
    with pytest.raises(UsageError, match="this processor runs portable"):
        NativeInt8Matrix(weight, scale, isa="sse9")
    monkeypatch.setenv(library.ISA_VARIABLE, "sse9")
    with pytest.raises(UsageError, match="this processor runs portable"):
        NativeInt8Matrix(weight, scale)
