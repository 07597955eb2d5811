"""A server's record decides whether a route includes the server."""

from __future__ import annotations

import time
from dataclasses import replace

from p2pinfer.client.network import Network
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.swarm.coordinates.quantized import ORIGIN
from p2pinfer.types import LayerSeconds, PeerId, Span
from p2pinfer.wire.status import Reason, Refused
from tests.client.sessions import in_client, session_of
from tests.fakes import MODEL, FakeServer, fake_swarm


def chosen(network: Network) -> PeerId:
    """Return the server that a short session gets."""
    with session_of(network, num_layers=2) as session:
        session.compute([[1, 2, 3]], [1])
        return session.report()[0].peer_id


def having(member: FakeServer, **load: int) -> None:
    """Let the server have this load; its record was written before."""
    before = member.load
    member.load = lambda: replace(before(), **load)


def announcing(member: FakeServer, **load: object) -> None:
    """Let the server's record say something else than the truth."""
    record = member.record
    member.record = lambda: replace(record(), **load)


async def test_a_client_learns_where_it_is_from_those_that_it_pings():
    async with fake_swarm([Span(0, 2)] * 4) as swarm:
        await in_client(swarm, chosen, num_layers=2)

        assert set(swarm.position._peers) == {member.peer_id for member in swarm.members}
        assert swarm.position.announced == ORIGIN


async def test_nobody_begins_with_a_server_that_will_soon_be_gone():
    """Its owner's hours end in half a minute; the other's end in an hour."""
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        leaving, staying = swarm.members
        leaving.leaves_at, staying.leaves_at = time.time() + 30, time.time() + 3600
        for _ in range(3):
            assert await in_client(swarm, chosen, num_layers=2) == staying.peer_id


async def test_unless_there_is_no_other():
    async with fake_swarm([Span(0, 2)]) as swarm:
        [only] = swarm.members
        only.leaves_at = time.time() + 5
        assert await in_client(swarm, chosen, num_layers=2) == only.peer_id


async def test_nobody_begins_with_a_server_that_has_too_little_room():
    """A session here takes 256 tokens of the cache. The answer to a ping is newer than the record."""
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        full, free = swarm.members
        having(full, free_cache_tokens=255)
        for _ in range(3):
            assert await in_client(swarm, chosen, num_layers=2) == free.peer_id


async def test_what_a_server_answers_counts_more_than_its_older_record():
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        full, free = swarm.members
        announcing(free, free_cache_tokens=0, queue_depth=100)
        having(full, free_cache_tokens=255)
        for _ in range(3):
            assert await in_client(swarm, chosen, num_layers=2) == free.peer_id


async def test_a_newer_record_counts_more_than_an_older_answer():
    async with fake_swarm([Span(0, 2)]) as swarm:
        [only] = swarm.members

        def loads(network: Network) -> list[int]:
            directory, found = network.directory, []
            network.run(directory.route())
            for free in (1, 2):
                announcing(only, free_cache_tokens=free)
                [record] = network.run(directory.swarm.servers(MODEL))
                found.append(directory.experience.load(record).free_cache_tokens)
            return found

        assert await in_client(swarm, loads, num_layers=2) == [1, 2]


async def test_unless_all_have_too_little():
    """The announcement may be old: the server itself decides, and here it has room."""
    async with fake_swarm([Span(0, 2)]) as swarm:
        [only] = swarm.members
        announcing(only, free_cache_tokens=0)
        assert await in_client(swarm, chosen, num_layers=2) == only.peer_id


async def test_steps_that_wait_at_a_server_count_like_its_compute_time(monkeypatch):
    """A hundred steps of two layers are longer than any difference between two ways on one machine."""
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        busy, idle = swarm.members
        monkeypatch.setattr(
            SessionRunner, "queue_depth", property(lambda runner: 100 if runner is busy.runner else 0)
        )
        for _ in range(3):
            assert await in_client(swarm, chosen, num_layers=2) == idle.peer_id


async def test_what_a_refusal_has_taught_one_session_the_next_one_knows(monkeypatch):
    """The server says in its record, and to pings, that it has room and nothing to do."""
    asked = []
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        busy, idle = swarm.members
        monkeypatch.setattr(busy.sessions, "open", lambda client, terms: refused())
        announcing(idle, decode=LayerSeconds(1.0))

        def refused():
            asked.append(1)
            raise Refused(Reason.BUSY, "come back later", 30.0)

        def twice(network: Network) -> list[PeerId]:
            return [chosen(network), chosen(network)]

        assert await in_client(swarm, twice, num_layers=2) == [idle.peer_id] * 2
        assert len(asked) == 1


async def test_a_server_that_always_refuses_and_says_come_back_at_once_stops_nobody(monkeypatch):
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        liar, honest = swarm.members
        monkeypatch.setattr(liar.sessions, "open", lambda client, terms: refused())
        announcing(honest, decode=LayerSeconds(1.0))

        def refused():
            raise Refused(Reason.BUSY, "come back at once", 0.001)

        assert await in_client(swarm, chosen, num_layers=2) == honest.peer_id


async def test_a_record_with_the_address_and_certificate_of_another_server_gets_no_place():
    """Anybody can copy them. The session would be refused: the opening is for a peer that isn't there."""
    async with fake_swarm([Span(0, 2), Span(0, 2)]) as swarm:
        copy, honest = swarm.members
        there = honest.record()
        announcing(copy, endpoints=there.endpoints, certificate=there.certificate)
        announcing(honest, decode=LayerSeconds(1.0))

        def first(network: Network) -> list[HopServer]:
            return network.run(network.directory.route())

        [hop] = await in_client(swarm, first, num_layers=2)
        assert hop.record.peer_id == honest.peer_id
