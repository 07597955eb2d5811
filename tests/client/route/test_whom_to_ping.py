"""Of many servers some are pinged: enough for a good route, and not those alone that look best."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from p2pinfer.client.route.candidate import Candidate
from p2pinfer.client.route.routing import cheapest_seconds
from p2pinfer.client.route.whom_to_ping import (
    ENOUGH_PER_LAYER,
    EVERYBODY,
    MOST_PINGED,
    Prospect,
    Standing,
    whom_instead,
    whom_to_ping,
    worth_waiting_for,
)
from p2pinfer.types import PeerId, Span
from scripts.benchmarks.routing.newcomer import Newcomer, liars
from scripts.benchmarks.routing.swarms import large_swarm

NUM_LAYERS = 80


def strangers(servers: int, seed: int, *, links: int = 24) -> list[Candidate]:
    return large_swarm(servers, NUM_LAYERS, links, random.Random(seed))


def best(servers: Sequence[Candidate]) -> float:
    """Seconds per token of the best route of all."""
    seconds = cheapest_seconds(servers, NUM_LAYERS)
    assert seconds is not None
    return seconds


def alike(count: int, span: Span, standing: Standing, *, numerics: str = "n") -> list[Prospect]:
    """Servers of one span that look the same."""
    return [
        Prospect(
            candidate=Candidate(
                peer_id=PeerId(f"{numerics}-{span}-{standing.name}-{number}"),
                layers=span,
                numerics=numerics,
                seconds_per_layer=0.001,
            ),
            standing=standing,
        )
        for number in range(count)
    ]


def test_of_a_few_servers_all_are_pinged_but_those_that_have_just_answered():
    few = [*alike(EVERYBODY - 1, Span(0, 8), Standing.SILENT), *alike(1, Span(0, 8), Standing.FRESH)]
    assert whom_to_ping(few, 8, random.random) == list(range(EVERYBODY - 1))
    assert worth_waiting_for(few, [0, 5], 8) == [0, 5]
    asked = [None, False, *[True] * (EVERYBODY - 2)]
    assert whom_instead(few, asked, 8, random.random) == [0]


@pytest.mark.parametrize("servers", [100, 768])
def test_of_many_a_bounded_number_is_pinged_and_the_route_is_nearly_as_good(servers):
    """Without a single way known, the first route costs a few per cent more than the best one of all."""
    above = []
    for seed in range(5):
        swarm = strangers(servers, seed)
        found = Newcomer(swarm, [], NUM_LAYERS, random.Random(seed)).search()
        assert (found.pings, found.rounds) == (MOST_PINGED, 1)
        above.append(found.seconds / best(swarm) - 1)
    assert statistics.median(above) < 0.1
    assert max(above) < 0.35


def test_a_liar_with_most_of_the_records_costs_a_few_rounds_of_pings_and_no_more():
    """500 perfect servers that never answer, beside 268 that do."""
    for seed in range(3):
        swarm, chances = strangers(268, seed), random.Random(seed)
        client = Newcomer(swarm, liars(500, NUM_LAYERS, chances), NUM_LAYERS, chances)
        searches = [client.search() for _ in range(7)]
        for found in searches:
            assert found.seconds < 2 * best(swarm)
            assert found.rounds <= 4
            assert found.most_at_once <= MOST_PINGED
        assert all(found.rounds == 1 for found in searches[2:])
        assert searches[-1].seconds < 1.5 * best(swarm)


def test_half_of_the_pings_go_to_servers_that_have_answered_before_whatever_others_announce():
    known = alike(40, Span(0, 8), Standing.ANSWERED)
    boasts = [
        replace(one, candidate=replace(one.candidate, seconds_per_layer=1e-6))
        for one in alike(300, Span(0, 8), Standing.NEW)
    ]
    pinged = whom_to_ping([*known, *boasts], 8, random.Random(1).random)
    assert len(pinged) == MOST_PINGED
    assert sum(place < len(known) for place in pinged) >= MOST_PINGED // 2


def test_clients_that_know_the_same_ping_different_strangers():
    new = alike(600, Span(0, 8), Standing.NEW)
    pinged = [set(whom_to_ping(new, 8, random.Random(seed).random)) for seed in range(2)]
    assert len(pinged[0] & pinged[1]) < MOST_PINGED * 3 // 4


def test_what_looks_best_is_trusted_less_where_many_were_silent():
    silent, quick = alike(300, Span(0, 8), Standing.SILENT), alike(100, Span(0, 8), Standing.NEW)
    slow = [
        replace(one, candidate=replace(one.candidate, seconds_per_layer=0.1, peer_id=PeerId(f"slow-{place}")))
        for place, one in enumerate(alike(100, Span(0, 8), Standing.NEW))
    ]
    prospects = [*silent, *quick, *slow]
    pinged = whom_to_ping(prospects, 8, random.Random(1).random)
    kinds = Counter("slow" if place >= 400 else prospects[place].standing.name for place in pinged)
    assert kinds["slow"] > MOST_PINGED // 4


def test_nobody_waits_for_strangers_where_known_servers_are_enough():
    known, new = alike(ENOUGH_PER_LAYER, Span(0, 8), Standing.ANSWERED), alike(30, Span(0, 8), Standing.NEW)
    everyone = range(len(known) + len(new))
    assert worth_waiting_for([*known, *new], list(everyone), 8) == list(range(len(known)))
    few = known[1:]
    assert len(worth_waiting_for([*few, *new], list(range(len(few) + 5)), 8)) == len(few) + 5
    held = [Span(0, 8)]
    assert len(worth_waiting_for([*few, *new], list(range(len(few) + 5)), 8, held=held)) == len(few)


def test_layers_that_are_held_need_fewer_pings_than_a_gap():
    servers = [*alike(200, Span(0, 4), Standing.NEW), *alike(200, Span(4, 8), Standing.NEW)]
    pinged = whom_to_ping(servers, 8, random.Random(1).random, held=[Span(0, 4)])
    in_gap = sum(place >= 200 for place in pinged)
    assert in_gap > MOST_PINGED // 2
    assert in_gap < MOST_PINGED


def test_others_are_asked_until_one_class_has_enough_for_every_layer():
    native, other = alike(50, Span(0, 8), Standing.NEW), alike(50, Span(0, 8), Standing.NEW, numerics="o")
    prospects = [*native, *other]
    asked: list[bool | None] = [False] * 10 + [True] * (ENOUGH_PER_LAYER - 1) + [None] * 37 + [None] * 50
    assert whom_instead(prospects, asked, 8, random.Random(1).random)
    asked[20] = True
    assert whom_instead(prospects, asked, 8, random.Random(1).random) == []


def test_a_class_whose_servers_are_all_silent_is_not_enough():
    silent, other = alike(20, Span(0, 8), Standing.NEW), alike(20, Span(0, 8), Standing.NEW, numerics="o")
    asked: list[bool | None] = [False] * 20 + [None] * 20
    instead = whom_instead([*silent, *other], asked, 8, random.Random(1).random)
    assert sorted(instead) == list(range(20, 40))


def test_numerics_classes_that_have_not_every_layer_take_no_pings():
    whole = alike(50, Span(0, 8), Standing.NEW)
    part = alike(400, Span(0, 4), Standing.NEW, numerics="part")
    pinged = whom_to_ping([*whole, *part], 8, random.Random(1).random)
    assert set(pinged) == set(range(50))


@pytest.mark.parametrize("few", [3, 300])
def test_doubted_servers_are_asked_as_a_last_resort_only(few: int):
    trusted, doubted = alike(few, Span(0, 4), Standing.NEW), alike(40, Span(4, 8), Standing.DOUBTED)
    prospects = [*trusted, *doubted]
    chance = random.Random(1).random
    pinged = whom_to_ping(prospects, 8, chance)
    assert pinged and set(pinged) <= set(range(few))
    asked = [True if place in pinged else None for place in range(len(prospects))]
    assert not set(whom_instead(prospects, asked, 8, chance)) & set(range(few, few + 40))
    assert set(range(few, few + 40)) <= set(whom_instead(prospects, asked, 8, chance, last_resort=True))
