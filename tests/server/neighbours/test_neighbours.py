"""Round trips to real servers on this machine, and to records of servers that aren't there."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from functools import partial
from typing import Any

from p2pinfer.client.network import Network
from p2pinfer.identity import Identity
from p2pinfer.server.door.admission import Load
from p2pinfer.server.neighbours import neighbours as rounds
from p2pinfer.server.neighbours import notes
from p2pinfer.server.neighbours import round_trips as measuring
from p2pinfer.server.neighbours.neighbours import Neighbours
from p2pinfer.server.neighbours.roster import Roster
from p2pinfer.server.neighbours.round_trips import RoundTrip, round_trips
from p2pinfer.swarm.coordinates.quantized import ORIGIN
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.tasks import ending
from p2pinfer.types import PeerId, Span, Way
from tests.client.sessions import in_client, session_of
from tests.client.unix_ways import UnixWays
from tests.fakes import MODEL, FakeSwarm, fake_swarm
from tests.server.placement.test_roll_call import babbling, silent
from tests.server.wire_client import until


def neighbours_of(swarm: FakeSwarm, index: int) -> Neighbours:
    roster: Any = Roster(swarm, MODEL)
    return Neighbours(swarm.members[index].record(), roster, None, swarm.position)


async def test_a_server_announces_how_far_it_is_to_those_that_continue_its_span():
    async with fake_swarm([Span(0, 2), Span(2, 4), Span(2, 3), Span(0, 4)]) as swarm:
        first = neighbours_of(swarm, 0)
        assert first.next_hop_seconds() == {}
        await first.measure_some()
        found = first.next_hop_seconds()
        last = neighbours_of(swarm, 1)
        await last.measure_some()

        assert set(found) == {swarm.members[index].peer_id for index in (1, 2, 3)}
        assert all(0 < seconds < 10.0 for seconds in found.values())
        assert last.next_hop_seconds() == {}


async def test_a_server_learns_where_it_is_also_from_those_that_no_route_goes_on_to():
    """All of them serve all layers, so nobody follows anybody."""
    async with fake_swarm([Span(0, 2)] * 4) as swarm:
        server = neighbours_of(swarm, 0)
        await server.measure_some()

        assert server.next_hop_seconds() == {}
        assert set(swarm.position._peers) == {member.peer_id for member in swarm.members[1:]}
        assert swarm.position.announced == ORIGIN


async def test_later_rounds_measure_two_servers_at_least_and_first_ones_more(monkeypatch):
    asked: list[int] = []

    async def counted(records: list[Announcement], ways: None) -> dict[PeerId, RoundTrip]:
        asked.append(len(records))
        return {record.peer_id: RoundTrip(0.001, Way.DIRECT) for record in records}

    monkeypatch.setattr(rounds, "round_trips", counted)
    async with fake_swarm([Span(0, 2)] * 12) as swarm:
        server = neighbours_of(swarm, 0)
        for _ in range(rounds.QUICK_ROUNDS + 1):
            await server.measure_some()

    assert asked == [8, 8, 8, 2]


async def test_a_server_that_is_reached_through_a_relay_says_nothing_of_where_we_are(monkeypatch):
    monkeypatch.setattr(measuring, "MEETING_SECONDS", 0.05)
    monkeypatch.setattr(measuring, "LOOK_SECONDS", 0.01)
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        first, last = swarm.members
        last.is_tunnelled = True
        roster: Any = Roster(swarm, MODEL)  # type: ignore[arg-type]
        ways = UnixWays({last.peer_id: last})
        server = Neighbours(first.record(), roster, ways, swarm.position)
        await server.measure_some()

        assert last.peer_id in server.next_hop_seconds()
        assert not swarm.position._peers


async def test_a_server_that_is_killed_leaves_the_announcement():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        first = neighbours_of(swarm, 0)
        await first.measure_some()
        assert len(first.next_hop_seconds()) == 1
        await swarm.members.pop().stop()
        first._records_seconds = 0.0
        await first.measure_some()
        assert first.next_hop_seconds() == {}


async def test_neither_the_dead_nor_the_mute_nor_a_copied_address_is_measured_and_none_delays_the_others(
    monkeypatch,
):
    monkeypatch.setattr(measuring, "CONNECT_SECONDS", 0.3)
    async with fake_swarm([Span(0, 2)]) as swarm:
        [here] = await swarm.servers(MODEL)
        with silent() as endpoint:
            strangers = [Identity.ephemeral().peer_id for _ in range(4)]
            mute = replace(here, peer_id=strangers[0], endpoints=(endpoint,))
            copied = replace(here, peer_id=strangers[1])
            nowhere = replace(here, peer_id=strangers[2], endpoints=())
            broken = replace(here, peer_id=strangers[3], certificate=b"no certificate")
            began = time.monotonic()
            found = await round_trips([mute, copied, nowhere, broken, here], None)

    assert [peer_id for peer_id, trip in found.items() if trip.seconds is not None] == [here.peer_id]
    assert time.monotonic() - began < 15.0


async def test_a_stranger_that_answers_nonsense_is_not_measured_and_does_not_end_the_server():
    async with fake_swarm([Span(0, 2)]) as swarm:
        [here] = await swarm.servers(MODEL)
        async with babbling(here) as liar:
            found = await round_trips([liar, here], None)

    assert [peer_id for peer_id, trip in found.items() if trip.seconds is not None] == [here.peer_id]


async def test_no_connection_is_left_open():
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        descriptors = len(os.listdir("/proc/self/fd"))
        await neighbours_of(swarm, 0).measure_some()
        await until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


async def test_a_round_trip_is_the_quickest_of_several():
    """A server that is busy for a moment isn't further away: half of the time is more than the bound."""
    async with fake_swarm([Span(0, 2)]) as swarm:
        handler = swarm.members[0].handler
        load, slow = handler._load, iter([0.4, 0.0, 0.0, 0.4])

        def sometimes_slow() -> Load:
            time.sleep(next(slow))
            return load()

        handler._load = sometimes_slow
        [found] = (await round_trips(await swarm.servers(MODEL), None)).values()
        assert found == RoundTrip(found.seconds, Way.DIRECT)
        assert found.seconds is not None and found.seconds < 0.2


async def test_a_round_begins_early_when_a_relay_is_not_needed_any_more(monkeypatch):
    """A session opens a tunnel to it, which is a direct one by now."""
    monkeypatch.setattr(measuring, "MEETING_SECONDS", 0.0)
    monkeypatch.setattr(rounds, "SOON_SECONDS", 0.01)
    monkeypatch.setattr(rounds, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(notes, "OTHER_WAY_SECONDS", 0.05)
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm:
        first, last = swarm.members
        last.is_tunnelled = True
        ways, roster = UnixWays({last.peer_id: last}), Roster(swarm, MODEL)  # type: ignore[arg-type]
        neighbours = Neighbours(first.record(), roster, ways, swarm.position)

        def noted() -> Way | None:
            note = neighbours._notes._notes.get(last.peer_id)
            return None if note is None else note.way

        async with ending(asyncio.create_task(neighbours.measure_forever())):
            await until(lambda: noted() is Way.RELAYED)
            ways.ways[last.peer_id] = Way.PUNCHED
            await until(lambda: noted() is Way.PUNCHED)


async def test_a_relayed_server_that_is_met_while_it_is_measured_is_measured_directly(monkeypatch):
    """The relay's delay is nobody's: a session would move to the direct way at once."""
    monkeypatch.setattr(measuring, "LOOK_SECONDS", 0.01)
    async with fake_swarm([Span(0, 2)]) as swarm:
        [server] = swarm.members
        server.is_tunnelled, ways = True, UnixWays({server.peer_id: server})
        load, pings = server.handler._load, iter(range(measuring.PINGS - 1))

        def slow_through_the_relay() -> Load:
            if ways.ways[server.peer_id] is Way.RELAYED:
                time.sleep(0.2)
                if next(pings, None) is None:
                    ways.ways[server.peer_id] = Way.PUNCHED
            return load()

        server.handler._load = slow_through_the_relay
        [trip] = (await round_trips([server.record()], ways)).values()

    assert trip.way is Way.PUNCHED
    assert trip.seconds is not None and trip.seconds < 0.2


async def test_a_server_that_stays_relayed_is_measured_so(monkeypatch):
    monkeypatch.setattr(measuring, "MEETING_SECONDS", 0.05)
    monkeypatch.setattr(measuring, "LOOK_SECONDS", 0.01)
    async with fake_swarm([Span(0, 2)]) as swarm:
        [server] = swarm.members
        server.is_tunnelled = True
        [trip] = (await round_trips([server.record()], UnixWays({server.peer_id: server}))).values()

    assert trip.way is Way.RELAYED
    assert trip.seconds is not None


async def test_a_clients_route_goes_where_the_announced_way_is_short():
    """Two servers continue the first, alike but for the way there: one of them is on another continent."""
    async with fake_swarm([Span(0, 2), Span(2, 4), Span(2, 4)]) as swarm:
        first, *others = swarm.members
        record = first.record
        for distant, near in (others, others[::-1]):
            neighbours = neighbours_of(swarm, 0)
            await neighbours.measure_some()
            ways = {**neighbours.next_hop_seconds(), distant.peer_id: 0.4}
            assert near.peer_id in ways
            first.record = partial(lambda ways: replace(record(), next_hop_seconds=ways), ways)
            for _ in range(3):
                assert await in_client(swarm, second_hop, num_layers=4) == near.peer_id


def second_hop(network: Network) -> PeerId:
    """The server after the first one in the route that a short session gets."""
    with session_of(network, num_layers=4) as session:
        session.compute([[1, 2, 3]], [1])
        return session.report()[1].peer_id
