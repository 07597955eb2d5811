"""Prompts are cut into steps that servers accept, and tokens that servers hold are not sent."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.chain.prefill import (
    FAR_STEP_TOKENS,
    PREFILL_STEP_TOKENS,
    common_prefix,
    plan_steps,
    step_tokens,
)
from p2pinfer.wire.steps import RowChunk

rows_of_tokens = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def row(index: int, tokens: int, position: int = 0) -> RowChunk:
    return RowChunk(index, position, np.arange(tokens, dtype=np.float32).reshape(tokens, 1))


def test_a_long_row_is_cut_and_a_short_one_fills_the_rest():
    steps = plan_steps([row(0, 5, position=3), row(1, 2)], max_tokens=4)
    shapes = [[(chunk.row, chunk.position, len(chunk.hidden)) for chunk in step.chunks] for step in steps]
    assert shapes == [[(0, 3, 4)], [(0, 7, 1), (1, 0, 2)]]
    assert [step.final for step in steps] == [[False], [True, True]]


@given(rows_of_tokens, st.integers(1, 16))
def test_every_token_is_sent_once_and_in_order(lengths, max_tokens):
    steps = plan_steps([row(i, length) for i, length in enumerate(lengths)], max_tokens)
    sent: dict[int, list[float]] = {i: [] for i in range(len(lengths))}
    for step in steps:
        assert 1 <= sum(len(chunk.hidden) for chunk in step.chunks) <= max_tokens
        assert len({chunk.row for chunk in step.chunks}) == len(step.chunks)
        for chunk, final in zip(step.chunks, step.final, strict=True):
            assert chunk.position == len(sent[chunk.row])
            sent[chunk.row] += chunk.hidden[:, 0].tolist()
            assert final == (len(sent[chunk.row]) == lengths[chunk.row])
    assert sent == {i: list(map(float, range(length))) for i, length in enumerate(lengths)}


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_the_common_prefix_is_common_and_no_longer_could_be(one, other):
    length = common_prefix(one, other)
    assert one[:length] == other[:length]
    assert length in (len(one), len(other)) or one[length] != other[length]


def test_prompts_are_cut_smaller_for_hops_that_are_far_away():
    """A hop begins a step when all of it has arrived: over slow links, small steps overlap."""
    assert step_tokens(0.0005) == PREFILL_STEP_TOKENS
    assert step_tokens(0.040) == FAR_STEP_TOKENS < PREFILL_STEP_TOKENS
