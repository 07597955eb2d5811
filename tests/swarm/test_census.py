"""Which layers the swarm holds."""

from __future__ import annotations

from p2pinfer.identity import Identity
from p2pinfer.swarm.census import coverage, missing_layers
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span
from tests.swarm.conftest import describe

IDENTITY = Identity.ephemeral()


def serving(*spans: tuple[int, int], state: ServerState = ServerState.SERVING) -> list[Announcement]:
    return [describe(IDENTITY, layers=Span(*span), state=state) for span in spans]


def test_every_server_counts_for_each_of_its_layers() -> None:
    assert coverage(serving((0, 3), (2, 5)), 6) == [1, 1, 2, 1, 1, 0]


def test_missing_layers_are_the_fewest_spans_in_order() -> None:
    assert missing_layers(serving((2, 4), (6, 7)), 9) == (Span(0, 2), Span(4, 6), Span(7, 9))
    assert missing_layers(serving((0, 9)), 9) == ()
    assert missing_layers([], 9) == (Span(0, 9),)


def test_only_servers_that_serve_count() -> None:
    for state in (ServerState.JOINING, ServerState.DRAINING, ServerState.LEFT):
        assert coverage(serving((0, 2), state=state), 2) == [0, 0]


def test_a_span_that_reaches_beyond_the_model_is_cut() -> None:
    assert coverage(serving((1, 9)), 3) == [0, 1, 1]
