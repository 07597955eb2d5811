"""A joining server goes where the swarm is thinnest; defaults leave the owner's machine usable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.server.compute.budget import default_cache_tokens, default_num_layers
from p2pinfer.server.door.listeners import announced_endpoints
from p2pinfer.server.placement import choose_span
from p2pinfer.types import Span


def test_an_empty_swarm_is_begun_at_the_front():
    assert choose_span([0] * 30, 10) == Span(0, 10)


def test_a_gap_is_filled_before_a_thin_stretch():
    assert choose_span([1] * 10 + [3] * 10 + [0] * 10, 10) == Span(20, 30)
    assert choose_span([5, 5, 1, 1, 0, 9], 2) == Span(3, 5)


def test_a_server_with_room_for_all_takes_all():
    assert choose_span([0] * 4, 99) == Span(0, 4)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 20))
def test_the_choice_is_inside_the_model_and_never_misses_an_empty_layer_it_could_hold(coverage, size):
    span = choose_span(coverage, size)
    assert span.within(Span(0, len(coverage))) and len(span) == min(size, len(coverage))
    empty = [layer for layer, count in enumerate(coverage) if count == 0]
    assert not empty or any(layer in span for layer in empty)


def test_defaults_take_a_share_of_free_memory_and_at_least_something():
    assert default_num_layers(largest_layer_bytes=100, free_bytes=1000, num_layers=30) == 5
    assert default_num_layers(largest_layer_bytes=100, free_bytes=0, num_layers=30) == 1
    assert default_cache_tokens(bytes_per_token=1000, free_bytes=4_000_000) == 1000


def test_others_dial_the_listening_host_or_where_the_swarm_sees_the_machine():
    seen = ("/ip4/192.0.2.4/tcp/9/p2p/Qm", "/ip6/2001:db8::1/tcp/9/p2p/Qm", "/dns/x/tcp/1/p2p/Qm")
    assert announced_endpoints("10.0.0.7", 5, seen) == ("10.0.0.7:5",)
    assert announced_endpoints("0.0.0.0", 5, seen) == ("192.0.2.4:5", "[2001:db8::1]:5")
