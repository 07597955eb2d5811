"""What a model's servers can do, and where another one is wanted."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.identity import Identity
from p2pinfer.swarm.census.strength import (
    STAY_SECONDS,
    claimed_now,
    classes,
    expected,
    expected_stay,
    strongest,
    typical_seconds,
)
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import LayerSeconds, Span
from tests.swarm.conftest import describe

IDENTITY = Identity.ephemeral()
NOW = time.time()


def server(start: int, end: int, *, seconds: float = 0.01, **changes: Any) -> Announcement:
    return describe(IDENTITY, layers=Span(start, end), decode=LayerSeconds(seconds), **changes)


servers = st.lists(
    st.builds(
        lambda start, size, seconds: server(start, min(8, start + size), seconds=seconds, num_layers=8),
        st.integers(0, 7),
        st.integers(1, 8),
        st.sampled_from([0.0, 0.001, 0.01, 0.05]),
    ),
    max_size=7,
)


@given(servers)
def test_a_swarm_is_as_fast_as_its_weakest_layer(held: list[Announcement]) -> None:
    """A layer's rate is the sum over its servers; each server shares its time among its layers."""
    by_layer = [
        sum(
            1 / (len(one.layers) * one.decode.first)
            for one in held
            if layer in one.layers and one.decode.first
        )
        for layer in range(8)
    ]
    found = claimed_now(held, 8)

    rate = sum(strength.tokens_per_second for strength in found.values())
    assert rate == pytest.approx(min(by_layer))
    assert (rate == 0.0) is (min(by_layer) == 0.0)


def test_numerics_classes_are_counted_apart() -> None:
    both = [server(0, 5), server(5, 10, numerics="other-1")]
    gaps = {numerics: strength.gaps for numerics, strength in claimed_now(both, 10).items()}

    assert gaps == {"reference-1": (Span(5, 10),), "other-1": (Span(0, 5),)}
    assert [len(some) for some in classes(both).values()] == [1, 1]


@pytest.mark.parametrize("state", [ServerState.JOINING, ServerState.DRAINING, ServerState.LEFT])
def test_only_servers_that_serve_can_do_something_now(state: ServerState) -> None:
    assert claimed_now([server(0, 2, state=state)], 2) == {}


def test_a_server_that_loads_counts_as_a_typical_one() -> None:
    """It has measured nothing yet. The median: one that boasts, or a slow one, doesn't move it."""
    loading = server(5, 10, seconds=0.0, state=ServerState.JOINING)
    strength = expected([server(0, 5, seconds=0.01)] * 3 + [server(0, 5, seconds=9.0), loading], 10, NOW)

    assert strength.gaps == ()
    assert strength.stretches[-1].rate == pytest.approx(1 / (5 * 0.01))


def test_a_server_counts_the_less_the_sooner_it_leaves() -> None:
    soon = server(0, 10, leaves_at=NOW + STAY_SECONDS / 4)

    assert expected([soon], 10, NOW).tokens_per_second == pytest.approx(0.25 / (10 * 0.01))
    assert expected_stay(None, NOW) == expected_stay(NOW + 10 * STAY_SECONDS, NOW) == 1.0


def test_a_server_that_drains_counts_for_the_rest_of_its_stay() -> None:
    """And nowhere if it doesn't say how long that is."""
    drains = {"state": ServerState.DRAINING}

    assert expected([server(0, 10, leaves_at=NOW + 60, **drains)], 10, NOW).fewest_servers == 1
    assert expected([server(0, 10, leaves_at=NOW - 1, **drains)], 10, NOW).gaps == (Span(0, 10),)
    assert expected([server(0, 10, **drains)], 10, NOW).gaps == (Span(0, 10),)


def test_a_boast_is_bounded() -> None:
    """Otherwise one record would keep everybody away from its layers."""
    honest = [server(0, 10, seconds=0.01)] * 3
    boast = server(0, 5, seconds=1e-6)

    assert (
        expected([*honest, boast], 10, NOW).stretches[0].rate
        < 100 * expected(honest, 10, NOW).tokens_per_second
    )


def test_a_record_without_credit_holds_nothing() -> None:
    assert expected([server(0, 10)], 10, NOW, lambda record: 0.0).gaps == (Span(0, 10),)
    assert expected([server(0, 10)], 10, NOW, lambda record: 0.5).tokens_per_second == pytest.approx(5.0)


def test_help_is_wanted_in_gaps_and_otherwise_where_layers_are_weakest() -> None:
    """A stretch of two slow servers may be weaker than one of a fast one."""
    slow = [server(0, 5, seconds=0.1), server(0, 5, seconds=0.1)]
    fast = server(5, 10, seconds=0.001)

    assert [one.layers for one in expected(slow, 10, NOW).wanted] == [Span(5, 10)]
    assert [(one.layers, one.servers) for one in expected([*slow, fast], 10, NOW).wanted] == [(Span(0, 5), 2)]


def test_a_newcomer_probably_strengthens_the_class_that_does_most() -> None:
    records = [server(0, 10), server(0, 9, numerics="other-1")]
    found = strongest({numerics: expected(some, 10, NOW) for numerics, some in classes(records).items()})

    assert found is not None and not found.gaps
    assert strongest({}) is None


def test_a_typical_speed_is_that_of_the_server_in_the_middle() -> None:
    assert typical_seconds([server(0, 1, seconds=some) for some in (1e-9, 0.0, 0.001, 0.002, 5.0)]) == 0.002
    assert typical_seconds([]) > 0.0
