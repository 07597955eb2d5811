"""What gossip may cost in bytes, counted."""

from __future__ import annotations

from p2pinfer.swarm.gossip.bounds import SENT_BYTES, STRANGERS_SENT_BYTES, TAKEN_BYTES, Bounds
from p2pinfer.types import PeerId

PEERS = [PeerId(f"peer {n}") for n in range(40)]
HOUR = 3600


def sent_in_an_hour(bounds: Bounds, peers: list[PeerId], *, is_member: bool) -> int:
    """Bytes, if each of the peers gets as much as there is room for, every ten seconds."""
    sent = 0
    for second in range(0, HOUR, 10):
        for peer in peers:
            room = bounds.room_to_send(peer, second, is_member=is_member)
            bounds.sent(peer, second, room, is_member=is_member)
            sent += room
    return sent


def test_a_crowd_of_members_and_one_of_strangers_get_what_the_bounds_say_and_no_more() -> None:
    """In an hour that is six times ten minutes' part, and once what had been saved."""
    bounds = Bounds()
    assert sent_in_an_hour(bounds, PEERS, is_member=False) <= 7 * STRANGERS_SENT_BYTES.in_all
    assert 5.5 * SENT_BYTES.in_all < sent_in_an_hour(bounds, PEERS, is_member=True) <= 7 * SENT_BYTES.in_all


def test_one_neighbour_has_a_quarter_of_all() -> None:
    assert sent_in_an_hour(Bounds(), PEERS[:1], is_member=True) <= 7 * SENT_BYTES.per_key
    assert 4 * SENT_BYTES.per_key == SENT_BYTES.in_all


def test_what_others_bring_is_bounded_likewise() -> None:
    bounds, taken = Bounds(), 0
    for second in range(0, HOUR, 10):
        for peer in PEERS:
            room = bounds.room_to_take(peer, second)
            bounds.took(peer, second, room)
            taken += room
    assert taken <= 7 * TAKEN_BYTES.in_all


def test_one_that_sends_more_than_there_was_room_for_has_to_wait_longer() -> None:
    bounds = Bounds()
    bounds.took(PEERS[0], 0.0, 3 * TAKEN_BYTES.per_key)
    assert bounds.room_to_take(PEERS[0], 600.0) == 0
    assert bounds.room_to_take(PEERS[1], 0.0) > 0
