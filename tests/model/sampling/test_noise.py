"""The randomness of draws: a pure function of seed, position and token."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.model.sampling.noise import draw_key, gumbel


def plain(key: int, token: int) -> float:
    """The noise of one token, in Python's whole numbers and with the C library's logarithm."""
    mask = (1 << 64) - 1
    bits = (key + (token + 1) * 0x9E3779B97F4A7C15) & mask
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
    uniform = (((bits ^ (bits >> 31)) >> 12) + 0.5) * 2.0**-52
    return -math.log(-math.log(uniform))


def test_the_noise_is_the_same_for_ever():
    """Another version of p2pinfer, numpy or Python must not change texts: these numbers stay as they are."""
    key = draw_key(7, 3)

    assert key == KEY
    assert [round(noise, 12) for noise in gumbel(key, np.array([0, 1, 151_935]))] == NOISES
    # The first outputs of SplitMix64 started at 0, by its authors' C code.
    assert math.isclose(plain(0, 0), -math.log(-math.log(((0xE220A8397B1DCDAF >> 12) + 0.5) * 2.0**-52)))


@given(st.integers(-(1 << 63), (1 << 64) - 1), st.integers(0, 1 << 40))
def test_it_is_what_whole_numbers_and_logarithms_say(seed: int, position: int):
    key = draw_key(seed, position)
    tokens = np.array([0, 1, 2, 1000, 200_000])

    np.testing.assert_allclose(gumbel(key, tokens), [plain(key, int(token)) for token in tokens], rtol=1e-13)


def test_the_noise_of_a_token_does_not_depend_on_the_others():
    """However many they are."""
    every = gumbel(5, np.arange(50_000))

    for some in (np.array([16_383, 16_384, 49_999]), np.arange(3, 50_000, 7)):
        assert gumbel(5, some).tobytes() == every[some].tobytes()


def test_seeds_positions_and_tokens_give_independent_noise():
    """Mean and variance of Gumbel's distribution, and no correlation between neighbours."""
    rows = np.array(
        [gumbel(draw_key(seed, position), np.arange(500)) for seed in range(20) for position in range(20)]
    )

    assert abs(rows.mean() - 0.5772) < 0.01
    assert abs(rows.var() - math.pi**2 / 6) < 0.03
    assert abs(np.corrcoef(rows[:-1].ravel(), rows[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1]) < 0.01
    assert np.isfinite(rows).all()


def test_seeds_that_are_equal_modulo_two_to_the_64_are_one_seed():
    """Clients write the same 64 bits with and without a sign."""
    assert draw_key(-1, 0) == draw_key((1 << 64) - 1, 0) != draw_key(1, 0)


KEY = 4229475188021929419
NOISES = [-0.501595773603, 1.312390346971, -0.133780631923]
