"""Between two cuts the same sequences run, and every sequence meets each of its layers once, in order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.model.engine.stretches import Stretch, stretches
from p2pinfer.types import Span

spans = st.tuples(st.integers(0, 12), st.integers(1, 8)).map(lambda pair: Span(pair[0], sum(pair)))


@given(st.lists(spans, max_size=12))
def test_every_sequence_meets_each_of_its_layers_once_in_order(layers):
    met: list[list[int]] = [[] for _ in layers]
    for stretch in stretches(layers):
        for index in stretch.passing:
            met[index] += range(stretch.layers.start, stretch.layers.end)
    assert met == [list(range(span.start, span.end)) for span in layers]


@given(st.lists(spans, max_size=12))
def test_no_layer_is_read_twice_and_none_for_nobody(layers):
    cut = list(stretches(layers))
    assert all(stretch.passing for stretch in cut)
    assert all(one.layers.end <= other.layers.start for one, other in pairwise(cut))


def test_sequences_of_the_same_layers_are_not_cut():
    assert list(stretches([Span(3, 9)] * 3)) == [Stretch(Span(3, 9), (0, 1, 2))]


def test_who_enters_in_the_middle_shares_what_it_passes():
    assert list(stretches([Span(0, 10), Span(3, 8)])) == [
        Stretch(Span(0, 3), (0,)),
        Stretch(Span(3, 8), (0, 1)),
        Stretch(Span(8, 10), (0,)),
    ]
