"""How a local swarm shares layers among its peers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.types import Span


def test_thirty_layers_among_three_peers_are_ten_each():
    """The README's swarm."""
    assert split_layers(30, 3) == [Span(0, 10), Span(10, 20), Span(20, 30)]


@given(st.integers(1, 200), st.data())
def test_every_layer_is_held_once_and_no_peer_holds_two_more_than_another(
    num_layers: int, data: st.DataObject
):
    """Contiguous, complete, even."""
    spans = split_layers(num_layers, data.draw(st.integers(1, num_layers)))

    assert [layer for span in spans for layer in range(span.start, span.end)] == list(range(num_layers))
    assert max(map(len, spans)) - min(map(len, spans)) <= 1


def test_more_peers_than_layers_are_refused_with_the_numbers_that_work():
    """`--peers 50` for a model of 30 layers."""
    with pytest.raises(UsageError, match="30 layers can't be shared among 50 peers: choose 1 to 30"):
        split_layers(30, 50)
