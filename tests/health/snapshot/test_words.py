"""Headlines and sentences of page and terminal."""

from __future__ import annotations

from dataclasses import replace

from p2pinfer.health.snapshot import sentences, words
from p2pinfer.health.snapshot.state import Activity
from p2pinfer.swarm.reach.claimed import ClaimedReach
from p2pinfer.types import Way
from tests.health.states import make_model, make_probe, make_server


def test_headlines_are_sentences_for_strangers():
    """Works, thin and down, with the layers concerned."""
    both = [make_server(0, (0, 30)), make_server(1, (0, 30))]
    assert sentences.headline(make_model(name="M", servers=both)) == "M can generate text now"
    thin = [make_server(0, (0, 30)), make_server(1, (0, 10)), make_server(2, (20, 30))]
    assert (
        sentences.headline(make_model(name="M", servers=thin))
        == "M is thin: layers 10–19 depend on one server"
    )
    alone = [make_server(0, (0, 15)), make_server(1, (15, 30))]
    assert (
        sentences.headline(make_model(name="M", servers=alone))
        == "M is thin: layers 0–29 depend on one server each"
    )
    down = make_model(name="M", servers=[make_server(0, (0, 10)), make_server(1, (20, 29))])
    assert sentences.headline(down) == "M cannot generate: nobody serves layers 10–19 and 29"
    joining = make_model(name="M", servers=[make_server(0, (0, 30), state=Activity.JOINING)])
    assert sentences.headline(joining) == "M cannot generate: nobody serves any of its layers"


def test_how_a_server_is_reached_is_what_the_page_found_else_what_the_server_offers():
    """A question mark tells the two apart."""
    assert words.reached(make_server(way=Way.PUNCHED, offers=ClaimedReach.RELAYED)) == "punched"
    assert words.reached(make_server(way=None, offers=ClaimedReach.RELAYED)) == "relayed?"
    assert words.reached(make_server(way=None, offers=ClaimedReach.UNKNOWN)) == "–"


def test_relays_are_named_and_those_who_are_one_say_so():
    assert words.relay_notes(make_server()) == []
    assert words.relay_notes(make_server(relays=("…abc123", "…def456"))) == ["at …abc123", "at …def456"]
    assert words.relay_notes(make_server(is_relay=True)) == ["relays for others"]
    assert len(words.relay_notes(make_server(relays=("…abc123",) * 1000))) == words.MOST_RELAYS


def test_a_hop_of_a_probe_has_its_way_unless_it_was_reached_directly():
    """Also where there are fewer ways than hops: none is made up."""
    route = (("…aaaaaa", 0, 10), ("…bbbbbb", 10, 20), ("…cccccc", 20, 30))
    probe = replace(make_probe(route=route), route_ways=(Way.DIRECT, Way.PUNCHED))
    assert [hop[3] for hop in words.hops_of(probe, 12)] == ["", "punched", ""]
    assert words.hops_of(probe, 1) == [("…aaaaaa", 0, 10, "")]
    assert words.hops_of(replace(probe, route=(), route_ways=(Way.RELAYED,)), 12) == []
