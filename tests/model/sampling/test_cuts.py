"""Which tokens are drawn from, against a plain sort of everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2pinfer.model.sampling.cuts import candidates
from p2pinfer.model.sampling.options import SamplingOptions

Scores = np.ndarray


def plain(scores: Scores, options: SamplingOptions) -> list[int]:
    """The same, token by token."""
    order = sorted(
        (token for token in range(len(scores)) if scores[token] > -np.inf), key=lambda t: (-scores[t], t)
    )
    if options.top_k:
        order = order[: options.top_k]
    best = float(scores[order[0]])
    weights = [float(np.exp((np.float64(scores[token]) - best) / options.temperature)) for token in order]
    wanted, kept, reached = options.top_p * sum(weights), 0, 0.0
    while kept < len(order) and (kept == 0 or options.top_p == 1.0 or reached < wanted):
        reached += weights[kept]
        kept += 1
    if options.min_p:
        kept = sum(weight >= options.min_p for weight in weights[:kept])
    return sorted(order[:kept])


@settings(max_examples=400)
@given(
    scores=st.lists(
        st.integers(-40, 40).map(float) | st.just(-np.inf) | st.floats(-30, 30, width=32),
        min_size=1,
        max_size=60,
    ).filter(lambda scores: max(scores) > -np.inf),
    top_k=st.sampled_from([0, 1, 2, 5, 59, 60, 1000]),
    top_p=st.sampled_from([0.0, 0.001, 0.31, 0.5, 0.9, 0.95, 0.9999, 1.0]),
    min_p=st.sampled_from([0.0, 0.0501, 0.503, 1.0]),
    temperature=st.sampled_from([0.01, 0.7, 1.0, 1.5, 100.0]),
)
@example(scores=[3.0] * 50, top_k=7, top_p=1.0, min_p=0.0, temperature=1.0)
@example(scores=[3.0] * 50, top_k=0, top_p=0.31, min_p=0.0, temperature=1.0)
def test_the_cuts_keep_what_a_plain_sort_keeps(
    scores: list[float], top_k: int, top_p: float, min_p: float, temperature: float
):
    options = SamplingOptions(top_k=top_k, top_p=top_p, min_p=min_p, temperature=temperature)
    array = np.array(scores, np.float32)
    found = candidates(array, options).tolist()
    expected = plain(array, options)

    if found != expected:  # only where sums in another order meet the border
        nudged = {
            tuple(plain(array, SamplingOptions(top_k=top_k, top_p=p, min_p=m, temperature=temperature)))
            for p in (top_p, min(1.0, top_p * (1 + 1e-12)), top_p * (1 - 1e-12))
            for m in (min_p, min(1.0, min_p * (1 + 1e-12)), min_p * (1 - 1e-12))
        }
        assert tuple(found) in nudged


@pytest.mark.parametrize("spread", [0.01, 1.0, 5.0])
@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(top_p=0.95, temperature=0.8),
        SamplingOptions(top_k=50),
        SamplingOptions(top_k=15_000, top_p=0.5),
        SamplingOptions(min_p=0.05),
        SamplingOptions(),
    ],
)
def test_large_vocabularies_are_cut_alike(spread: float, options: SamplingOptions):
    """Peaked or flat: however far down the cut looks."""
    scores = (np.random.default_rng(5).standard_normal(20_000) * spread).astype(np.float32)

    assert candidates(scores, options).tolist() == plain(scores, options)


def test_of_equal_scores_the_lower_ids_are_kept():
    scores = np.zeros(100, np.float32)

    assert candidates(scores, SamplingOptions(top_k=3)).tolist() == [0, 1, 2]
    assert candidates(scores, SamplingOptions(top_p=0.045)).tolist() == [0, 1, 2, 3, 4]


def test_top_p_is_of_what_top_k_leaves():
    """Two tokens of one half each: the first alone has half of it."""
    scores = np.array([0, 5, 5, -1], np.float32)

    assert candidates(scores, SamplingOptions(top_k=2, top_p=0.5)).tolist() == [1]
    assert candidates(scores, SamplingOptions(top_k=2, top_p=0.51)).tolist() == [1, 2]


def test_temperatures_near_zero_keep_the_best():
    """Differences divided by so little overflow."""
    scores = np.array([1.0, 1.0 + 2**-23, -np.inf, 1.0], np.float32)

    assert candidates(scores, SamplingOptions(temperature=1e-300, top_p=0.9)).tolist() == [1]
