"""What bounds documents/s on a network."""

from __future__ import annotations

import pytest

from scripts.benchmarks.documents.bounds import bounds_of, link_bytes

RUN = {
    "stage_seconds": [0.2, 0.5, 0.3],
    "ends_seconds": 0.1,
    "cores": 2,
    "hidden_size": 576,
    "wire_dtype": "float32",
    "up_bits_per_second": 20e6,
    "answer_tokens": 32,
    "computed_tokens": 500,
    "steps": 10,
    "rows": 40,
}


def test_a_stage_allows_what_it_computes_alone_and_cores_what_all_compute():
    bounds = bounds_of(RUN)
    assert bounds.stage == 1 / 0.5
    assert bounds.cores == pytest.approx(2 / 1.1)


def test_the_busiest_uplink_carries_every_computed_token_and_the_heads_of_steps():
    """The second peer passes on what it computes, with two hops' times; the last one sends only answers."""
    busiest = 531 * 2304 + 40 * 12 + 10 * (24 + 2 * 8)
    assert link_bytes(RUN, 2) == busiest
    assert bounds_of(RUN).uplink == pytest.approx(20e6 / 8 / busiest)
    assert link_bytes(RUN, 3) == 32 * 2304 + 10 * (24 + 3 * 8)


def test_int8_takes_about_a_quarter_of_an_uplink():
    ratio = bounds_of(RUN | {"wire_dtype": "int8"}).uplink / bounds_of(RUN).uplink
    assert 3.7 < ratio < 3.8


def test_the_goal_is_measured_by_the_lower_one_of_stage_and_uplink():
    assert bounds_of(RUN).goal == bounds_of(RUN).stage if bounds_of(RUN).uplink > 2 else bounds_of(RUN).uplink
    assert bounds_of(RUN | {"up_bits_per_second": 1e9}).goal == 2.0
