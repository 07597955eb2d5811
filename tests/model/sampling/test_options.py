"""What may be asked of the sampler, and what is refused by name."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.model.sampling.options import SamplingOptions

WRONG = [math.nan, math.inf, -math.inf, True, None, "1", b"1", [1], {}, 1j, Decimal(1), 10**5000, -(10**5000)]
FLOATS = ("repetition_penalty", "presence_penalty", "frequency_penalty", "temperature", "top_p", "min_p")


@pytest.mark.parametrize("field", [*FLOATS, "seed", "top_k"])
@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_what_is_no_number_in_range_is_refused_by_name(field: str, value: Any):
    with pytest.raises(UsageError, match=rf"^{field} is .*from"):
        SamplingOptions(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.01),
        ("temperature", 100.1),
        ("top_p", 1.01),
        ("top_p", -0.1),
        ("min_p", 1.01),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", -1.0),
        ("presence_penalty", 2.01),
        ("frequency_penalty", -2.01),
        ("top_k", -1),
        ("top_k", 1.0),
        ("top_k", 1 << 31),
        ("seed", 1.0),
        ("seed", 1 << 64),
        ("seed", -(1 << 63) - 1),
        ("logprobs", -1),
        ("logprobs", 21),
        ("logprobs", True),
        ("logprobs", 1.0),
    ],
)
def test_numbers_out_of_range_are_refused_with_the_range(field: str, value: Any):
    with pytest.raises(UsageError, match=rf"^{field} is {value}: it has to be a .*from .* to "):
        SamplingOptions(**{field: value})


@pytest.mark.parametrize(
    "biases",
    [
        [1],
        "1",
        1,
        None,
        {"1": 1.0},
        {-1: 1.0},
        {True: 1.0},
        {1.0: 1.0},
        {1 << 31: 1.0},
        {10**5000: 1.0},
        [10**5000],
    ],
    ids=range(11),
)
def test_biases_of_what_is_no_token_are_refused(biases: Any):
    with pytest.raises(UsageError, match="logit_bias"):
        SamplingOptions(logit_bias=biases)


@pytest.mark.parametrize("bias", [*WRONG, 1e7, -1e7], ids=lambda value: type(value).__name__)
def test_biases_that_are_no_numbers_are_refused(bias: Any):
    with pytest.raises(UsageError, match="logit_bias of token 5"):
        SamplingOptions(logit_bias={5: bias})


@given(st.dictionaries(st.sampled_from([*FLOATS, "seed", "top_k", "logprobs"]), st.floats() | st.integers()))
def test_options_are_plain_numbers_or_refused(fields: dict[str, Any]):
    """Nothing else comes out, whatever goes in."""
    try:
        options = SamplingOptions(**fields)
    except UsageError:
        return
    assert all(type(getattr(options, name)) is float for name in FLOATS)
    assert all(type(value) is int for value in (options.seed, options.top_k, options.logprobs or 0))


def test_numbers_of_numpy_and_whole_numbers_are_taken():
    options = SamplingOptions(temperature=np.float32(0.5), top_k=np.int64(3), top_p=1, min_p=Fraction(1, 4))

    assert (options.temperature, options.top_k, options.top_p, options.min_p) == (0.5, 3, 1.0, 0.25)


def test_nobody_changes_biases_afterwards():
    given_biases = {5: 1.0}
    options = SamplingOptions(logit_bias=given_biases)
    given_biases[6] = 2.0

    assert dict(options.logit_bias) == {5: 1.0}
    with pytest.raises(TypeError):
        options.logit_bias[5] = 2.0  # type: ignore[index]
