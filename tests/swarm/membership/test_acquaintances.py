"""Which peers a member remembers, and when it greets which, without a network."""

from __future__ import annotations

from p2pinfer.swarm.membership.acquaintances import MAX_MET, Acquaintances, GreetingTimes
from p2pinfer.types import PeerId

TIMES = GreetingTimes()
FIRST, MET, OTHER = PeerId("first"), PeerId("met"), PeerId("other")


def acquaintances() -> Acquaintances:
    """One initial peer, and one that was met at the time 0."""
    remembered = Acquaintances({FIRST: ["/ip4/192.0.2.1/tcp/1"]})
    remembered.saw({MET: ["/ip4/192.0.2.2/tcp/2"]}, now=0.0)
    return remembered


def test_no_peer_is_greeted_while_all_are_well() -> None:
    assert acquaintances().due(1e6, known={FIRST, MET}, connected={FIRST, MET}) == {}


def test_alone_everybody_is_greeted_again_and_again() -> None:
    remembered = acquaintances()
    everybody = {FIRST: ("/ip4/192.0.2.1/tcp/1",), MET: ("/ip4/192.0.2.2/tcp/2",)}
    now = 2 * TIMES.remembered_seconds  # however long ago a peer was met: better than no peer
    assert remembered.due(now, known=set(), connected=set()) == everybody
    assert remembered.due(now + TIMES.alone_seconds - 1, known=set(), connected=set()) == {}
    assert remembered.due(now + TIMES.alone_seconds, known=set(), connected=set()) == everybody


def test_a_lost_initial_peer_is_greeted() -> None:
    remembered = acquaintances()
    assert FIRST in remembered.due(100.0, known={MET}, connected={MET})
    assert FIRST not in remembered.due(99.0 + TIMES.lost_seconds, known={MET}, connected={MET})
    assert FIRST in remembered.due(100.0 + TIMES.lost_seconds, known={MET}, connected={MET})


def test_a_known_initial_peer_that_is_not_connected_may_have_begun_anew() -> None:
    remembered = acquaintances()
    assert FIRST in remembered.due(100.0, known={FIRST, MET}, connected={MET})
    assert FIRST not in remembered.due(99.0 + TIMES.unconnected_seconds, known={FIRST, MET}, connected={MET})
    assert FIRST in remembered.due(100.0 + TIMES.unconnected_seconds, known={FIRST, MET}, connected={MET})


def test_a_peer_met_before_is_greeted_for_an_hour() -> None:
    remembered = acquaintances()
    assert MET in remembered.due(100.0, known={FIRST}, connected={FIRST})
    assert MET not in remembered.due(99.0 + TIMES.met_seconds, known={FIRST}, connected={FIRST})
    assert MET in remembered.due(TIMES.remembered_seconds, known={FIRST}, connected={FIRST})
    assert MET not in remembered.due(2 * TIMES.remembered_seconds, known={FIRST}, connected={FIRST})


def test_the_newest_address_and_the_initial_one_are_tried() -> None:
    remembered = acquaintances()
    remembered.saw({FIRST: ["/ip4/192.0.2.9/tcp/9"], MET: ["/ip4/192.0.2.8/tcp/8"]}, now=5.0)
    assert remembered.addresses() == {
        FIRST: ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.9/tcp/9"),
        MET: ("/ip4/192.0.2.8/tcp/8",),
    }


def test_of_many_those_are_kept_that_were_seen_last_and_known_longest() -> None:
    remembered = Acquaintances({})
    crowd = {PeerId(f"peer{number}"): ["/ip4/192.0.2.3/tcp/3"] for number in range(3 * MAX_MET)}
    early = dict(list(crowd.items())[-3:])
    remembered.saw({OTHER: ["/ip4/192.0.2.4/tcp/4"], **early}, now=1.0)
    remembered.saw(crowd, now=2.0)
    kept = remembered.addresses()
    assert len(kept) == MAX_MET
    assert kept.keys() >= early.keys()
    assert OTHER not in kept


def test_how_long_a_peer_is_known_survives_a_stay_and_another_clock() -> None:
    """One clock counts from the machine's start, the other is the world's."""
    before = acquaintances()
    before.saw({MET: ["/ip4/192.0.2.2/tcp/2"]}, now=50.0)
    seen = before.seen(now=60.0, unix_now=1e9)
    assert seen == {MET: (1e9 - 60.0, 1e9 - 10.0)}
    after = Acquaintances({FIRST: ["/ip4/192.0.2.1/tcp/1"]})
    after.recall({MET: ["/ip4/192.0.2.2/tcp/2"], OTHER: ["/ip4/192.0.2.4/tcp/4"]}, seen, 5.0, 1e9 + 100.0)
    assert after.seen(5.0, 1e9 + 100.0) == {**seen, OTHER: (1e9 + 100.0, 1e9 + 100.0)}
