"""What scripts/bench_swarm makes of what it has seen."""

from __future__ import annotations

import random

from p2pinfer.identity import Identity
from p2pinfer.types import PeerId, Span
from scripts.benchmarks.swarm.balance import compared, computed, imbalance, tokens_per_second
from scripts.benchmarks.swarm.goals import goals_of, least_servers, table
from scripts.benchmarks.swarm.spread import Seen, Sighting, all_seen_at, served_at, settled_at
from scripts.benchmarks.swarm.victims import half_that_hurts

ONE, TWO, OTHER = (Identity.ephemeral().peer_id for _ in range(3))
OURS = {ONE, TWO}


def seen(peer_id: PeerId, layers: Span, state: str) -> Seen:
    return Seen(peer_id, layers, is_settled=state in ("claims", "serves"), is_serving=state == "serves")


SIGHTINGS = [
    Sighting(1.0, (seen(ONE, Span(0, 2), "serves"), seen(OTHER, Span(0, 4), "serves"))),
    Sighting(2.0, (seen(ONE, Span(0, 2), "serves"), seen(TWO, Span(0, 2), "wants"))),
    Sighting(3.0, (seen(ONE, Span(0, 2), "serves"), seen(TWO, Span(2, 4), "claims"))),
    Sighting(4.0, (seen(ONE, Span(0, 2), "serves"), seen(TWO, Span(2, 4), "serves"))),
]


def test_a_burst_is_over_when_our_own_servers_have_every_layer():
    """A record of somebody else changes nothing, whatever it says."""
    assert all_seen_at(SIGHTINGS, OURS) == 2.0
    assert all_seen_at(SIGHTINGS[:1], OURS) is None
    assert settled_at(SIGHTINGS, OURS, 4, 2.0) == 3.0
    assert settled_at(SIGHTINGS[:2], OURS, 4, 2.0) is None
    assert served_at(SIGHTINGS, OURS, 4, 2.0) == 4.0


def test_every_layer_is_served_again_only_if_it_stays_so():
    whole, broken = SIGHTINGS[-1], SIGHTINGS[1]
    later = [Sighting(6.0, broken.servers), Sighting(7.0, whole.servers), Sighting(8.0, whole.servers)]
    assert served_at([*SIGHTINGS, *later], OURS, 4, 2.0) == 7.0
    assert served_at([*SIGHTINGS, *later[:1]], OURS, 4, 2.0) is None
    assert served_at([*SIGHTINGS, *later], OURS, 4, 6.5) == 6.5, "nothing was lost since"


def test_the_half_that_hurts_leaves_a_layer_without_a_server_and_spares_one():
    layers = {index: Span(start, start + 10) for index, start in enumerate([0, 0, 10, 10, 20, 20, 20, 0])}
    doomed = half_that_hurts(layers, 30, spared=0, chance=random.Random(1))
    assert len(doomed) == len(set(doomed)) == 4
    assert 0 not in doomed
    assert {2, 3} <= set(doomed), "the only ones with the middle layers"


def test_the_work_of_servers_is_compared_with_that_of_an_average_one():
    """A server without any work counts as well."""
    rounds = [
        [{"tokens": 30, "computed": {"a": 300, "b": 100}}, {"tokens": 10, "computed": {"a": 100}}],
        [{"tokens": 60, "computed": {"b": 100}}],
    ]
    work = computed(rounds, ["a", "b", "c"])
    assert work == {"a": 400, "b": 200, "c": 0}
    assert imbalance(work) == 2.0
    assert tokens_per_second(rounds, 10.0) == 5.0


def test_a_token_that_differs_is_found():
    texts = [{"prompt": 1, "tokens": [7, 8, 9]}, {"prompt": 0, "tokens": [1]}]
    assert compared([[{"texts": texts}]], [[1, 2], [7, 8, 8, 8]]) == (4, 3)


def test_of_the_servers_that_an_even_spread_gives_each_layer_three_of_four_are_wanted():
    assert [least_servers(number, 30) for number in (3, 6, 12, 40)] == [1, 1, 3, 10]


def test_the_table_names_what_was_missed():
    phase = {"what": "killed", "servers": 20, "left": 20, "lost_layers": 10, "seconds": None, "moves": []}
    measured = {
        "model": "tiny",
        "num_layers": 30,
        "machine": {"cores": 2},
        "bursts": [
            {"servers": 6, "phantoms": 0, "claims_seconds": 4.0, "settled_seconds": 1.0}
            | {"served_seconds": 3.0, "fewest": 0, "most": 4}
        ],
        "churn": {
            "servers": 40,
            "phases": [phase],
            "done": 5,
            "failed": [],
            "compared_tokens": 50,
            "identical_tokens": 50,
            "replaced_hops": 1,
            "replayed_tokens": 9,
            "problems": [],
        },
    }
    missed = [goal.what for goal in goals_of(measured) if not goal.is_met]
    assert missed == [
        "6 at once: servers of a layer, at least",
        "20 killed, 10 layers lost: served again",
    ]
    assert "never" in table(measured)
