"""The rotation before every rounding to INT8: its definition, and the bytes that peers agree on."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.hadamard import GROUP, rotate

SYLVESTER = functools.reduce(np.kron, [np.array([[1.0, 1.0], [1.0, -1.0]])] * 6) / 8


def random_values(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_whole_group_is_multiplied_by_hadamards_matrix():
    """Sylvester's, orthonormal."""
    x = random_values(9, GROUP)

    np.testing.assert_array_equal(rotate(np.eye(GROUP, dtype=np.float32)), SYLVESTER)
    np.testing.assert_allclose(rotate(x), x.astype(np.float64) @ SYLVESTER, atol=1e-6)


@given(st.integers(0, 3), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_groups_are_rotated_by_themselves_and_a_short_last_one_stays(rows: int, columns: int, seed: int):
    """Shapes never change."""
    x = random_values(rows, columns, seed=seed)
    kept = x.copy()
    found = rotate(x)
    whole = columns // GROUP * GROUP

    np.testing.assert_array_equal(x, kept)
    assert found.shape == x.shape
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, whole:], x[:, whole:])
    for start in range(0, whole, GROUP):
        np.testing.assert_array_equal(found[:, start : start + GROUP], rotate(x[:, start : start + GROUP]))


def test_rotating_twice_gives_back_what_was_there():
    """Up to float32's rounding."""
    x = random_values(5, 200)

    np.testing.assert_allclose(rotate(rotate(x)), x, atol=1e-6)


def test_products_stay_what_they_were():
    """(x H)(W H)^T = x W^T."""
    x, weight = random_values(4, 150), random_values(7, 150, seed=1)

    np.testing.assert_allclose(rotate(x) @ rotate(weight).T, x @ weight.T, atol=1e-4)


def test_one_large_value_becomes_many_middling_ones():
    """What the rotation is for."""
    x = np.zeros(GROUP, np.float32)
    x[13] = 8

    np.testing.assert_array_equal(np.abs(rotate(x)), 1)


def test_the_order_of_additions_is_the_documented_one():
    """Written down value by value."""
    x = random_values(GROUP) * np.float32(1e3)
    values = list(x)
    for stride in (32, 16, 8, 4, 2, 1):
        values = [
            values[i ^ stride] - values[i] if i & stride else values[i] + values[i ^ stride]
            for i in range(GROUP)
        ]

    np.testing.assert_array_equal(rotate(x), np.array(values) * np.float32(0.125))


def test_the_bytes_are_the_same_on_every_machine():
    """Weights, activations and the wire depend on it: computed once, written down here."""
    x = (np.arange(3 * 150, dtype=np.float32).reshape(3, 150) % np.float32(37) - 18) / np.float32(7)

    digest = hashlib.sha256(rotate(x).tobytes()).hexdigest()
    assert digest == "aab6e133f0f93fb6c17039c801c343c2f38ffde6f4aae797a72630150584dc59"


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_rows_have_the_same_bytes_alone_and_among_others(cut: int):
    """Also as slices of a larger array, and with more axes."""
    x = random_values(6, 300)
    whole = rotate(x)

    np.testing.assert_array_equal(rotate(x[:cut]), whole[:cut])
    np.testing.assert_array_equal(rotate(x[::-1])[::-1], whole)
    np.testing.assert_array_equal(rotate(x.reshape(2, 3, 300)), whole.reshape(2, 3, 300))
