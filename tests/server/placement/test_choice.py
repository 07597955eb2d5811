"""A joining server goes where the model is weakest; defaults leave the owner's machine usable."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.server.compute.budget import default_cache_tokens, default_num_layers, most_num_layers
from p2pinfer.server.placement.choice import (
    Newcomer,
    Sizes,
    choose_span,
    is_better,
    share_here,
    with_server,
)
from p2pinfer.types import PeerId, Span


def newcomer(
    sizes: int | Sizes, *, rate: float = 10.0, held: Collection[int] = (), name: str = "a"
) -> Newcomer:
    return Newcomer(
        peer_id=PeerId(name),
        model="ab" * 32,
        sizes=Sizes.exactly(sizes) if isinstance(sizes, int) else sizes,
        layer_rate=rate,
        held=held,
    )


def chosen(rates: Sequence[float], sizes: int | Sizes, **changes: object) -> Span:
    return choose_span(np.array(rates, dtype=float), newcomer(sizes, **changes))  # type: ignore[arg-type]


def test_an_empty_swarm_is_begun_at_an_end():
    """In the middle it would leave scraps. Equals spread out: not all begin at the same end."""
    begun = {chosen([0.0] * 30, 10, name=f"peer {number}") for number in range(20)}

    assert begun == {Span(0, 10), Span(20, 30)}


def test_a_gap_is_filled_before_a_thin_stretch():
    assert chosen([1] * 10 + [3] * 10 + [0] * 10, 10) == Span(20, 30)
    assert chosen([5, 5, 1, 1, 0, 9], 2) == Span(3, 5)


def test_what_counts_is_how_fast_layers_are_and_not_how_many_hold_them():
    """Three slow servers may do less than one fast one: here they do 3 tokens a second, it does 40."""
    assert chosen([40.0] * 10 + [3.0] * 10, 10) == Span(10, 20)


def test_a_server_with_room_for_all_takes_all():
    assert chosen([0] * 4, 99) == Span(0, 4)


def test_of_equal_spans_it_takes_the_one_that_its_disk_has():
    """Also within an empty swarm, where nothing else would lead it there."""
    assert chosen([0.0] * 30, 10, held=range(7, 17)) == Span(7, 17)
    assert chosen([1.0] * 10 + [1.01] * 20, 10, held=range(20, 30)) == Span(20, 30)
    assert chosen([1.0] * 10 + [2.0] * 20, 10, held=range(20, 30)) == Span(0, 10)


def test_it_takes_fewer_layers_where_a_short_stretch_is_weak():
    """Its time goes to the layers that hold the others up."""
    sizes = Sizes(least=5, usual=10, most=10)

    assert chosen([9.0] * 10 + [2.0] * 5 + [9.0] * 15, sizes, rate=30.0) == Span(10, 15)
    assert len(chosen([9.0] * 30, sizes, rate=30.0)) == 10


def test_it_takes_more_layers_than_usual_only_to_close_the_last_gap():
    sizes = Sizes(least=5, usual=10, most=14)

    assert chosen([1.0] * 10 + [0.0] * 13 + [1.0] * 7, sizes) == Span(10, 23)
    assert len(chosen([1.0] * 10 + [0.0] * 20, sizes)) == 10


def test_one_of_thousands_goes_where_the_model_is_weakest_too():
    """Alone it changes no layer by a step that counts; it chooses as if others like it came."""
    rates = [1e6] * 8 + [1.2e6] * 14 + [1.1e6] * 8
    found = {chosen(rates, 8, rate=10.0, name=f"peer {number}") for number in range(20)}

    assert found == {Span(0, 8)}


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=14),
    st.integers(1, 14),
    st.sampled_from([0.1, 5.0, 60.0]),
)
@settings(max_examples=200)
def test_no_other_span_does_more(rates: list[float], size: int, rate: float):
    """Brute force over all spans of the size."""
    before, size = np.array(rates), min(size, len(rates))
    best = with_server(before, chosen(rates, size, rate=rate), rate)

    for start in range(len(rates) - size + 1):
        assert not is_better(with_server(before, Span(start, start + size), rate), best)


def test_a_large_model_of_many_servers_takes_a_moment():
    """A thousand places to begin or end at, and sixteen sizes."""
    chance = random.Random(0)
    rates = np.repeat([chance.random() for _ in range(1000)], 4)
    began = time.process_time()
    span = choose_span(rates, newcomer(Sizes(least=40, usual=80, most=100)))

    assert span.within(Span(0, 4000))
    assert time.process_time() - began < 3.0


@pytest.mark.parametrize("layers", [1, 2])
def test_a_model_of_few_layers_is_no_special_case(layers: int):
    assert chosen([0.0] * layers, 1) in {Span(0, 1), Span(1, 2)}


def test_defaults_take_a_share_of_free_memory_and_at_least_something():
    assert default_num_layers(largest_layer_bytes=100, free_bytes=1000, num_layers=30) == 5
    assert default_num_layers(largest_layer_bytes=100, free_bytes=0, num_layers=30) == 1
    assert most_num_layers(largest_layer_bytes=100, free_bytes=1000, num_layers=30) == 7
    assert default_cache_tokens(bytes_per_token=1000, free_bytes=4_000_000) == 1000


@pytest.mark.parametrize(
    ("held", "span"),
    [("..xx.", Span(2, 4)), ("xx.xx", Span(0, 2)), ("x.xxx", Span(2, 5)), ("xxx", None), ("...", None)],
)
def test_a_founders_share_is_the_longest_run_of_layers_on_its_disk(held: str, span: Span | None):
    """A whole store, or an empty one, decides nothing."""
    assert share_here(sign == "x" for sign in held) == span
