"""Who may have room for frames that come in part, and which of them have to go."""

from __future__ import annotations

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.shares import Bound
from p2pinfer.fairness.sources import Source
from p2pinfer.server.frames.frame_room import (
    SLOWEST_BYTES_PER_SECOND,
    Arrived,
    FrameRoom,
    frame_bound,
)

BOUND = Bound(in_all=800, per_source=400, per_key=200, for_known=200)


def guest(number: int, source: str = "") -> Guest:
    return Guest(key=bytes([number]), sources=(Source(source or f"source {number}"),))


def known(number: int) -> Guest:
    return Guest(key=bytes([number]), sources=(Source(f"source {number}"),), is_known=True)


def asked(room: FrameRoom[str], name: str, who: Guest, length: int = 100) -> bool:
    room.begin(name, who)
    return room.ask(name, length)


def nothing(_: str) -> Arrived:
    return Arrived(0, is_read=True)


def looked(room: FrameRoom[str], seconds: int, bytes_per_second: float = 0.0, *, is_read: bool = True):
    """Look every second; returns the first frames to give up, and when that was."""
    for second in range(1, seconds + 1):
        so_far = Arrived(int(bytes_per_second * second), is_read)
        if gone := room.look(1.0, lambda _, so_far=so_far: so_far):
            return second, gone
    return None


def test_a_key_a_source_and_all_together_have_bounded_room():
    room: FrameRoom[str] = FrameRoom(BOUND)

    assert asked(room, "a", guest(1)) and asked(room, "b", guest(1))
    assert not asked(room, "c", guest(1))
    assert asked(room, "d", guest(2, "source 1")) and asked(room, "e", guest(2, "source 1"))
    assert not asked(room, "f", guest(3, "source 1"))
    assert asked(room, "g", guest(4)) and asked(room, "h", guest(5))
    assert not asked(room, "i", guest(6)), "the rest is for those who are known"
    assert asked(room, "j", known(7), 200)
    assert not asked(room, "k", known(8))
    assert room.bytes_taken == 800


def test_who_waits_gets_room_in_turn_as_soon_as_there_is_some():
    room: FrameRoom[str] = FrameRoom(BOUND)
    for number in range(1, 7):
        assert asked(room, f"first {number}", guest(number))
    assert not asked(room, "long", guest(10), 200)
    assert not asked(room, "short", guest(11)), "it doesn't overtake: longer ones would wait for ever"

    assert room.end("first 1") and room.give() == []
    assert room.end("first 2") and room.give() == ["long"]
    assert room.end("long") and room.give() == ["short"]
    assert not room.end("short") and not room.end("short")


def test_who_waits_for_its_own_share_holds_up_nobody():
    room: FrameRoom[str] = FrameRoom(BOUND)
    assert asked(room, "a", guest(1), 200)
    assert not asked(room, "b", guest(1))

    assert asked(room, "c", guest(2))


def test_who_no_longer_waits_holds_up_nobody():
    room: FrameRoom[str] = FrameRoom(BOUND)
    assert asked(room, "known", known(1), 200) and asked(room, "b", known(2), 200)
    assert asked(room, "c", known(3), 200) and asked(room, "d", known(4))
    assert not asked(room, "long", known(5), 200)
    assert not asked(room, "short", known(6))

    assert room.end("long") and room.give() == ["short"]


def test_a_frame_longer_than_any_share_is_taken_alone():
    room: FrameRoom[str] = FrameRoom(BOUND)

    assert asked(room, "a", guest(1), 10_000)
    assert not asked(room, "b", guest(1))


def test_a_frame_that_does_not_come_is_given_up_after_ten_seconds():
    room: FrameRoom[str] = FrameRoom(BOUND)
    room.begin("hello", guest(1))

    assert looked(room, 20) == (11, ["hello"])


def test_a_frame_on_a_slow_uplink_is_let_in():
    """A prefill of 8 MB takes 13 s from a home that sends 5 Mbit/s."""
    for bytes_per_second in (625_000, SLOWEST_BYTES_PER_SECOND):
        room: FrameRoom[str] = FrameRoom(frame_bound(8 << 20))
        assert asked(room, "prefill", guest(1), 8 << 20)

        assert looked(room, 120, bytes_per_second) is None


def test_a_frame_that_trickles_is_given_up():
    room: FrameRoom[str] = FrameRoom(BOUND)
    assert asked(room, "a", guest(1))

    assert looked(room, 60, 10.0) == (11, ["a"])


def test_who_waits_for_its_own_share_presses_nobody():
    """Those that are read then share a slow uplink with it."""
    room: FrameRoom[str] = FrameRoom(frame_bound(8 << 20))
    for name in ("a", "b", "c"):
        asked(room, name, guest(1), 8 << 20)

    assert looked(room, 120, SLOWEST_BYTES_PER_SECOND) is None


def test_while_others_wait_those_that_stand_still_go_sooner_and_only_as_many_as_needed():
    room: FrameRoom[str] = FrameRoom(BOUND)
    for number in range(1, 7):
        assert asked(room, f"stuck {number}", guest(number))
    assert not asked(room, "honest", guest(9))

    assert looked(room, 20) == (3, ["stuck 1"])
    assert room.end("stuck 1") and room.give() == ["honest"]
    assert looked(room, 6) is None, "nobody waits any more"


def test_who_is_known_is_not_in_the_way_of_strangers():
    room: FrameRoom[str] = FrameRoom(BOUND)
    assert asked(room, "known", known(1), 200)
    for number in range(2, 8):
        assert asked(room, f"stuck {number}", guest(number))
    assert not asked(room, "honest", guest(9))

    assert looked(room, 9) == (3, ["stuck 2"])


def test_a_frame_that_nobody_reads_is_not_its_senders_fault():
    """The session computes a step, which a prefill behind others may let wait."""
    room: FrameRoom[str] = FrameRoom(BOUND)
    room.begin("short", guest(1))
    assert looked(room, 600, is_read=False) is None

    assert asked(room, "long", guest(2))
    assert looked(room, 600, is_read=False) == (61, ["long"]), "but it takes room"


def test_who_waits_for_room_is_not_given_up():
    room: FrameRoom[str] = FrameRoom(BOUND)
    assert asked(room, "a", guest(1), 200)
    assert not asked(room, "b", guest(1))
    rates = {"a": 10**6, "b": 0}

    for second in range(1, 100):
        assert room.look(1.0, lambda name, second=second: Arrived(rates[name] * second, is_read=True)) == []


def test_a_thousand_waiting_lanes_cost_little_to_look_at():
    room: FrameRoom[str] = FrameRoom(BOUND)
    for number in range(1000):
        asked(room, str(number), Guest(key=number.to_bytes(2, "big")))
    assert len(room) == 1000

    assert room.look(1.0, nothing) == []
    for _ in range(10):
        for name in room.look(1.0, nothing):
            room.end(name)
    assert room.give() != []
