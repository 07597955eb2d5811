"""Who stays under a key that has more records than places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from p2pinfer.swarm.kademlia.ranks import SILENT_SECONDS, rank
from p2pinfer.swarm.kademlia.store import FULL_KEY, MAX_RECORDS_PER_KEY, OLDER, RecordStore
from tests.swarm.kademlia.store.keeping import KEY, Clock, flood, peers_under, put, record, refresh, settled

HALF, SHARE = MAX_RECORDS_PER_KEY // 2, MAX_RECORDS_PER_KEY // 4


def by_rank(clock: Clock, peers: Iterable[str]) -> list[str]:
    return sorted(peers, key=lambda peer: rank(record(peer, expires_at=0.0), clock.now))


def test_a_full_key_says_that_it_is_full(store: RecordStore, clock: Clock) -> None:
    flood(store, clock, 5 * MAX_RECORDS_PER_KEY)

    answers = [put(store, f"late{number}", expires_at=1300) for number in range(100)]

    assert {answer.is_full for answer in answers if answer.refusal == FULL_KEY} == {True}
    assert sum(answer.refusal == FULL_KEY for answer in answers) > 50
    # One that is kept has displaced another.
    assert {answer.records + (answer.refusal == "") for answer in answers} == {MAX_RECORDS_PER_KEY}
    assert len(store) == len(store.get(KEY)) == MAX_RECORDS_PER_KEY


def test_half_of_a_key_is_its_elders_and_the_other_half_those_of_the_best_rank(
    store: RecordStore, clock: Clock
) -> None:
    """However many come, and in whatever order."""
    elders = settled(store, clock, HALF)
    crowd = {f"flood{number}" for number in range(1000)}

    flood(store, clock, len(crowd))

    assert peers_under(store) == elders | set(by_rank(clock, crowd)[:HALF])


def test_whoever_has_the_best_rank_gets_in_whenever_it_comes(store: RecordStore, clock: Clock) -> None:
    crowd = [f"flood{number}" for number in range(1000)]
    best, worst = by_rank(clock, crowd)[0], by_rank(clock, crowd)[-1]
    for peer in set(crowd) - {best, worst}:
        put(store, peer, expires_at=1300)

    assert put(store, best, expires_at=1300).refusal == ""
    assert put(store, worst, expires_at=1300).refusal == FULL_KEY


def test_a_network_has_no_more_than_its_share_when_others_wait(store: RecordStore, clock: Clock) -> None:
    assert flood(store, clock, MAX_RECORDS_PER_KEY, source="10.0.0.0/24") == MAX_RECORDS_PER_KEY

    assert flood(store, clock, 3 * SHARE, name="other") == 3 * SHARE
    sources = Counter(held.source for held in store._records[KEY].values())
    assert sources["10.0.0.0/24"] == SHARE


def test_elders_stay_when_others_of_their_network_crowd_in(store: RecordStore, clock: Clock) -> None:
    """A carrier's /24 is shared by strangers: they don't push out who was there before them."""
    elders = settled(store, clock, SHARE)
    for peer in elders:
        put(store, peer, expires_at=clock.now + 601, source="100.64.0.0/24")
    flood(store, clock, 1000, name="others")

    flood(store, clock, 1000, source="100.64.0.0/24")

    assert elders <= peers_under(store)


def test_a_silent_record_goes_first_and_one_that_slept_returns_to_its_place(
    store: RecordStore, clock: Clock
) -> None:
    elders = settled(store, clock, 8)
    clock.now += 90
    refresh(store, clock, elders)
    clock.now += SILENT_SECONDS + 1
    refresh(store, clock, elders - {"old0"})
    flood(store, clock, 1000)
    assert "old0" not in peers_under(store)

    clock.now += 44
    refresh(store, clock, elders)
    assert elders <= peers_under(store)


def test_a_tombstone_that_gave_way_is_remembered(store: RecordStore, clock: Clock) -> None:
    """It isn't refreshed, so it is silent soon. What was older than it stays out."""
    settled(store, clock, 1)
    clock.now += 90
    left_at = clock.now + 601
    assert put(store, "old0", data=b"left", expires_at=left_at).refusal == ""
    clock.now += SILENT_SECONDS + 1
    flood(store, clock, 1000)
    assert "old0" not in peers_under(store)

    assert put(store, "old0", data=b"alive", expires_at=left_at - 0.001).refusal == OLDER
    assert put(store, "old0", data=b"back", expires_at=left_at + 1).refusal == ""


def test_the_lines_of_one_model_leave_places_to_those_of_others(store: RecordStore, clock: Clock) -> None:
    """In the list of models all servers of a model have the same place."""

    def lists(peer: str, place: str) -> bool:
        line = replace(record(peer, expires_at=clock.now + 300), place=place)
        return not store.put(KEY, line).refusal

    assert all(lists(f"popular{number}", "popular") for number in range(MAX_RECORDS_PER_KEY))
    others = [f"model{number}" for number in range(100)]

    assert all(lists(f"server of {place}", place) for place in others)
    for number in range(MAX_RECORDS_PER_KEY):
        lists(f"popular again{number}", "popular")
    assert {f"server of {place}" for place in others} <= peers_under(store)
