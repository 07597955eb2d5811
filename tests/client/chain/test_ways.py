"""What a client says of the ways to its hops: its own, and those that servers tell it of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from p2pinfer.client.network import Network
from p2pinfer.client.session import InferenceSession
from p2pinfer.server.sessions import next_hops
from p2pinfer.tasks import Nursery
from p2pinfer.types import Span, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.opening import way_number, way_said
from tests.client.sessions import THREE, in_client, session_of
from tests.client.unix_ways import UnixWays
from tests.fakes import FakeServer, FakeSwarm, fake_swarm

SECONDS = 30.0


def tunnelled(swarm: FakeSwarm, *members: FakeServer) -> UnixWays:
    """Let these members be reached by tunnels alone, from the client and from all members."""
    ways = UnixWays({member.peer_id: member for member in members})
    for member in members:
        member.is_tunnelled = True
    swarm.ways = ways
    for member in swarm.members:
        member.handler._next_hops._ways = ways
    return ways


def ways_of(session: InferenceSession) -> list[tuple[Way | None, Way | None]]:
    return [(hop.way, hop.client_way) for hop in session.report()]


def wait_for(condition: Callable[[], bool]) -> None:
    """For a program that waits without an event loop."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("way", Way)
def test_a_way_survives_the_wire(way: Way):
    assert way_said(way_number(way)) is way


def test_a_way_that_nobody_knows_here_is_no_way():
    """A newer server may name one, and a hostile one any number."""
    assert way_number(None) == pb.WAY_UNKNOWN
    assert [way_said(number) for number in (0, 99, -1, 2**31 - 1)] == [None] * 4


async def test_where_all_are_dialled_at_their_endpoints_every_way_is_direct():
    async with fake_swarm(THREE) as swarm:

        def work(network: Network) -> None:
            with session_of(network) as session:
                assert session.report() == []
                session.compute([[1, 2, 3]], [1])
                assert ways_of(session) == [(Way.DIRECT, Way.DIRECT)] * 3

        await in_client(swarm, work)


async def test_a_tunnel_that_becomes_a_better_one_is_told_of_while_the_session_goes_on(monkeypatch):
    """The hop before it says so, without being asked, and the client sees its own way."""
    monkeypatch.setattr(next_hops, "LOOK_SECONDS", 0.01)
    async with fake_swarm(THREE) as swarm:
        middle = swarm.members[1]
        ways = tunnelled(swarm, middle)

        def work(network: Network) -> None:
            with session_of(network) as session:
                session.compute([[1, 2, 3]], [1])
                direct = (Way.DIRECT, Way.DIRECT)
                assert ways_of(session) == [direct, (Way.RELAYED, Way.RELAYED), direct]
                ways.ways[middle.peer_id] = Way.PUNCHED
                wait_for(lambda: ways_of(session)[1] == (Way.PUNCHED, Way.PUNCHED))
                session.compute([[1, 2, 3, 4]], [1])
                ways.ways[middle.peer_id] = Way.RELAYED  # the hole has closed
                wait_for(lambda: ways_of(session)[1] == (Way.RELAYED, Way.RELAYED))

        async with Nursery() as nursery:
            for member in swarm.members:
                nursery.start(member.handler.tell_ways_forever())
            await in_client(swarm, work)


async def test_the_ends_of_a_route_are_reached_by_the_clients_own_lanes():
    async with fake_swarm([Span(0, 3), Span(3, 6)]) as swarm:
        first, last = swarm.members
        ways = tunnelled(swarm, first, last)
        ways.ways = {first.peer_id: Way.PUNCHED, last.peer_id: Way.RELAYED}

        def work(network: Network) -> None:
            with session_of(network) as session:
                session.compute([[1, 2, 3]], [1])
                assert ways_of(session) == [(Way.PUNCHED, Way.PUNCHED), (Way.RELAYED, Way.RELAYED)]

        await in_client(swarm, work)


async def test_a_server_that_says_nothing_of_its_ways_is_reported_so(monkeypatch):
    """An older one, for instance."""
    async with fake_swarm(THREE) as swarm:
        monkeypatch.setattr("p2pinfer.server.door.handler.way_number", lambda way: pb.WAY_UNKNOWN)

        def work(network: Network) -> None:
            with session_of(network) as session:
                session.compute([[1, 2, 3]], [1])
                assert ways_of(session) == [(Way.DIRECT, Way.DIRECT), *[(None, Way.DIRECT)] * 2]

        await in_client(swarm, work)


async def test_a_successor_is_reported_with_its_own_way():
    """It takes the place of a hop that was dialled directly, and nobody waits for the next look."""
    async with fake_swarm(THREE) as swarm:
        loop, middle = asyncio.get_running_loop(), swarm.members[1]

        async def replace_the_middle() -> None:
            tunnelled(swarm, await swarm.add(Span(2, 4)))
            await swarm.kill(middle)

        def work(network: Network) -> None:
            with session_of(network) as session:
                session.compute([[1, 2, 3]], [1])
                asyncio.run_coroutine_threadsafe(replace_the_middle(), loop).result()
                network.carrier._pool.ways = swarm.ways
                session.compute([[1, 2, 3, 4]], [1])
                assert session.report()[1].peer_id == swarm.members[3].peer_id
                wait_for(lambda: ways_of(session)[1] == (Way.RELAYED, Way.RELAYED))

        await in_client(swarm, work)
