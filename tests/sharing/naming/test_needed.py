"""Which model a server takes that was started without a name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.sharing.naming.needed import Candidate, is_established, most_needed, need
from p2pinfer.sharing.naming.question import MOST_SHOWN, question, read_answer
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId, Span

US = PeerId("us")
LAYERS = 20


def server(start: int, end: int, network: int | None = 1, **changes: Any) -> Announcement:
    """A server in 10.NETWORK.0.0; None: only a tunnel leads to it."""
    fields: dict[str, Any] = {
        "peer_id": PeerId(f"peer-{start}-{end}-{network}"),
        "model": "a" * 64,
        "model_name": "x",
        "num_layers": LAYERS,
        "layers": Span(start, end),
        "state": ServerState.SERVING,
        "numerics": "n",
        "endpoints": () if network is None else (f"10.{network}.0.7:4600",),
        "free_cache_tokens": 10_000,
        "announced_at": 0.0,
        "expires_at": 60.0,
    }
    return Announcement(**{**fields, **changes})


def candidate(name: str, *servers: Announcement, **facts: Any) -> Candidate:
    listing = ModelListing(model=name * 64, model_name=facts.pop("shown", name), num_layers=LAYERS)
    return Candidate(listing=listing, servers=servers, **facts)


WHOLE = (server(0, 20, 1), server(0, 20, 2))
GAP_OF_5 = candidate("c", server(0, 10, 1), server(10, 15, 2))
COMPLETE = candidate("a", *WHOLE)


def order(*candidates: Candidate, room_layers: int | None = None) -> str:
    return "".join(one.listing.model_name for one in most_needed(candidates, US, room_layers=room_layers))


def test_a_gap_that_can_be_closed_matters_most():
    busy = candidate("a", *(replace(one, queue_depth=8, free_cache_tokens=0) for one in WHOLE))

    assert order(busy, GAP_OF_5) == "ca"


def test_the_smaller_gap_is_closed_first():
    gap_of_2 = candidate("d", server(0, 10, 1), server(10, 18, 2))

    assert order(GAP_OF_5, gap_of_2) == "dc"


def test_a_gap_that_is_too_large_for_anybody_comes_last():
    """Two servers announce a layer each of a model that nobody completes."""
    ruin = candidate("d", server(0, 1, 1), server(1, 2, 2))

    assert order(ruin, COMPLETE) == "ad"
    assert order(ruin, COMPLETE, room_layers=18) == "da"  # we complete it by ourselves


def test_of_complete_models_the_one_with_the_thinnest_layer_is_needed_most():
    thin = candidate("d", server(0, 20, 1), server(0, 19, 2))

    assert order(COMPLETE, thin) == "da"


def test_waiting_work_and_full_caches_raise_the_need():
    waiting = candidate("d", *(replace(one, queue_depth=3) for one in WHOLE))
    full = candidate("e", *(replace(one, free_cache_tokens=0) for one in WHOLE))

    assert order(COMPLETE, full, waiting) == "dea"
    assert (need(COMPLETE), need(full), need(waiting)) == (0.5, 1.0, 2.0)


def test_a_model_whose_files_are_here_goes_before_equal_ones_but_not_before_much_needed_ones():
    here = replace(COMPLETE, has_files=True)
    equal = candidate("b", *WHOLE)
    starving = candidate("d", *(replace(one, queue_depth=8) for one in WHOLE))

    assert order(equal, here, starving) == "dab"


@pytest.mark.parametrize(
    "lone",
    [
        [server(0, 15, 1)],
        [server(0, 20, 1, queue_depth=1_000_000, free_cache_tokens=0)],
        [server(0, 10, 1), server(10, 19, 1, endpoints=("10.1.0.250:99",))],  # one network
        [server(0, 10, endpoints=("a.x.org:1",)), server(10, 19, endpoints=("b.x.org:1",))],  # one owner
        [
            server(0, 10, endpoints=("[2001:db8:1:1::1]:1",)),
            server(10, 19, endpoints=("[2001:db8:1:2::1]:1",)),
        ],
        [],
    ],
)
def test_what_one_stranger_lists_attracts_nobody_while_there_is_anything_else(lone: list[Announcement]):
    lure = candidate("b", *lone)

    assert not is_established(lure)
    assert order(lure, COMPLETE) == "ab"


def test_where_there_is_nothing_else_the_founder_gets_company():
    assert order(candidate("b", server(0, 15))) == "b"
    assert order(candidate("b", server(0, 20)), candidate("d", server(0, 15))) == "db"


@pytest.mark.parametrize("facts", [{"has_files": True}, {"is_known": True}])
def test_what_this_machine_knows_needs_no_second_witness(facts: dict[str, bool]):
    assert is_established(candidate("b", server(0, 15), **facts))


def test_servers_behind_tunnels_count_as_places_of_their_own():
    assert is_established(candidate("b", server(0, 10, None), server(10, 20, None)))


def test_servers_that_leave_leave_a_gap():
    leaving = replace(WHOLE[1], layers=Span(10, 20), state=ServerState.DRAINING)
    staying = [server(0, 10, 1), server(0, 10, 2)]

    assert candidate("b", *staying, leaving).missing == (Span(10, 20),)


def test_equals_are_shared_out_among_newcomers():
    equals = [candidate(name, *WHOLE) for name in "abcd"]
    first = [most_needed(equals, PeerId(f"peer-{number}"))[0].listing.model_name for number in range(200)]

    assert all(first.count(name) > 20 for name in "abcd")


SERVERS = st.builds(
    lambda start, size, network, queue, free: server(
        start, min(start + size, LAYERS), network, queue_depth=queue, free_cache_tokens=free
    ),
    st.integers(0, LAYERS - 1),
    st.integers(1, LAYERS),
    st.integers(0, 3) | st.none(),
    st.integers(0, 20),
    st.sampled_from([0, 10_000]),
)
SWARMS = st.lists(
    st.builds(
        lambda name, servers, has_files: candidate(name, *servers, has_files=has_files),
        st.sampled_from("abcdef"),
        st.lists(SERVERS, max_size=6),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda one: one.listing.model,
)


@given(SWARMS, st.randoms(), st.integers(1, LAYERS) | st.none())
def test_the_order_of_what_is_known_changes_nothing(swarm: list[Candidate], random: Any, room: int | None):
    shuffled = [replace(one, servers=random.sample(one.servers, len(one.servers))) for one in swarm]
    random.shuffle(shuffled)

    names = [one.listing.model for one in most_needed(swarm, US, room_layers=room)]
    assert names == [one.listing.model for one in most_needed(shuffled, US, room_layers=room)]
    assert sorted(names) == sorted(one.listing.model for one in swarm)


@given(SWARMS)
def test_no_lone_stranger_goes_before_an_established_model(swarm: list[Candidate]):
    ranked = [is_established(one) for one in most_needed(swarm, US)]

    assert ranked == sorted(ranked, reverse=True)


@given(st.lists(SERVERS, max_size=6), st.integers(0, 5))
def test_need_grows_with_queues_and_claims_gain_a_bounded_amount(servers: list[Announcement], which: int):
    before = need(candidate("a", *WHOLE, *servers))
    liars = [
        replace(one, queue_depth=1_000_000, free_cache_tokens=0) if number == which else one
        for number, one in enumerate(servers)
    ]
    after = need(candidate("a", *WHOLE, *liars))

    assert before <= after <= 18 * before


@given(st.lists(SERVERS, max_size=6), st.integers(0, LAYERS - 1))
def test_a_server_more_never_makes_a_gap_larger(servers: list[Announcement], start: int):
    before = sum(map(len, candidate("a", *servers).missing))
    after = sum(map(len, candidate("a", *servers, server(start, LAYERS)).missing))

    assert after <= before


def test_thousands_of_models_are_ranked_soon():
    swarm = [
        replace(COMPLETE, listing=replace(COMPLETE.listing, model=f"{number:064x}")) for number in range(5000)
    ]
    began = time.process_time()
    ranked = most_needed(swarm, US)

    assert time.process_time() - began < 5
    assert len(question(ranked).splitlines()) < MOST_SHOWN + 8


def ranked_for_question() -> Sequence[Candidate]:
    return [
        GAP_OF_5,
        replace(COMPLETE, has_files=True),
        candidate("d", server(0, 20), shown="\x1b[2J"),
    ]


def test_the_question_lists_what_people_decide_by():
    assert question(ranked_for_question()) == (
        "Several models are served here. The one that needs servers most is the first:\n"
        "\n"
        "   1  c  cccccccccccccccc  20 layers, 2 servers, nobody holds 15-19\n"
        "   2  a  aaaaaaaaaaaaaaaa  20 layers, 2 servers, complete, files are here\n"
        "   3  ?[2J  dddddddddddddddd  20 layers, 1 server, complete, one stranger's word\n"
        "\n"
        "Which one? Its number, or Enter for the first: "
    )


@pytest.mark.parametrize(
    ("answer", "which"),
    [
        ("", 0), (" \n", 0), ("1", 0), (" 2 ", 1), ("a", 1), ("a" * 64, 1), ("a" * 8, 1),
        ("0", None), ("4", None), ("99999999999", None), ("-1", None), ("b", None), ("aaa", None),
        ("²", None),
    ],
)  # fmt: skip
def test_the_answer_is_a_number_a_name_or_a_hash(answer: str, which: int | None):
    ranked = [*ranked_for_question()[:2], candidate("d", server(0, 20))]

    assert read_answer(answer, ranked) is (None if which is None else ranked[which])


def test_without_models_no_answer_means_anything():
    assert read_answer("", []) is None
