"""A server that is told to dial a next hop knocks nowhere for strangers, and tells them nothing of doors."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace

import pytest

from p2pinfer.errors import RefusedError, SwarmError
from p2pinfer.fairness.rates import RateBound
from p2pinfer.identity import Identity
from p2pinfer.server.sessions import dial_allowance, next_hops
from p2pinfer.server.sessions.next_record import check_next
from p2pinfer.swarm.records import announcement
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Address, PeerId, Span, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.status import Reason, Refused
from tests.fakes import MODEL, FakeSwarm, fake_swarm
from tests.server.wire_client import WireClient, until, wire_client

DIAL_SECONDS = 0.3
LATE_SECONDS = 5.0  # more than a busy machine takes to say so
STRANGER = Identity.ephemeral()
CERTIFICATE = new_certificate().der
NOW = time.time()
RECORD = Announcement(
    peer_id=STRANGER.peer_id,
    model=MODEL,
    model_name="fake",
    num_layers=4,
    layers=Span(2, 4),
    state=ServerState.SERVING,
    numerics="fake-1",
    certificate=CERTIFICATE,
    announced_at=NOW,
    expires_at=NOW + 300,
)
TERMS = pb.Terms(server="us", model=MODEL, numerics="fake-1", first_layer=0, end_layer=2)


class NoLoopback:
    """Ways without a tunnel, by which nobody at this machine may be dialled."""

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        return host not in ("127.0.0.1", "::1")

    def tunnel(self, address: Address) -> AbstractAsyncContextManager[str]:
        raise SwarmError("no tunnels here")

    def way_of_tunnel(self, peer_id: PeerId) -> Way:
        return Way.TUNNEL


def downstream(*endpoints: str, **changes: object) -> pb.Downstream:
    """A next hop, as a stranger's record names it."""
    now = time.time()  # the tests before this one may have taken minutes
    record = replace(RECORD, endpoints=endpoints, **{"announced_at": now, "expires_at": now + 300, **changes})
    signed = announcement.encode(record, STRANGER)
    return pb.Downstream(record=signed, session_id=bytes(16), steps_key=bytes(32))


@contextmanager
def door() -> Iterator[tuple[str, socket.socket]]:
    """HOST:PORT, and who listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


def knocks(listener: socket.socket) -> int:
    """How many have come."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


@asynccontextmanager
async def first_hop(monkeypatch) -> AsyncIterator[tuple[FakeSwarm, WireClient]]:
    monkeypatch.setattr(next_hops, "DIAL_SECONDS", DIAL_SECONDS)
    async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as client:
        yield swarm, client


async def refused(swarm: FakeSwarm, client: WireClient, target: pb.Downstream) -> tuple[str, str, float]:
    """Reason, words and seconds of the answer."""
    began = time.monotonic()
    with pytest.raises(RefusedError) as error:
        await client.open(swarm.members[0], target)
    return error.value.reason, str(error.value), time.monotonic() - began


async def test_open_closed_and_silent_doors_get_the_same_answer_after_the_same_time(monkeypatch):
    with door() as (silent, _), door() as (closed, listener):
        listener.close()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        rude = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with first_hop(monkeypatch) as (swarm, client), rude:
            other = await client.open(swarm.members[0])
            endpoints = [
                silent,
                closed,
                f"127.0.0.1:{rude.sockets[0].getsockname()[1]}",
                f"127.0.0.1:{swarm.members[0].port}",  # lanes are spoken there, with another certificate
                "nobody.invalid:7",
            ]
            answers = [await refused(swarm, client, downstream(one)) for one in endpoints]
            answers.append(await refused(swarm, client, downstream()))
            other.call.cancel()
    assert len({answer[:2] for answer in answers}) == 1
    assert answers[0][0] == Reason.NEXT_HOP_UNREACHABLE
    assert all(DIAL_SECONDS <= seconds < DIAL_SECONDS + LATE_SECONDS for *_, seconds in answers)


async def test_an_address_that_may_not_be_dialled_gets_that_answer_too_and_no_knock(monkeypatch):
    with door() as (endpoint, listener):
        async with first_hop(monkeypatch) as (swarm, client):
            swarm.members[0].handler._next_hops._ways = NoLoopback()
            port = endpoint.rpartition(":")[2]
            for host in ("127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"):
                reason, words, seconds = await refused(swarm, client, downstream(f"{host}:{port}"))
                assert (reason, "127" in words) == (Reason.NEXT_HOP_UNREACHABLE, False)
                assert DIAL_SECONDS <= seconds < DIAL_SECONDS + LATE_SECONDS
        assert knocks(listener) == 0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"announced_at": NOW - 400, "expires_at": NOW - 100}, "expired"),
        ({"state": ServerState.JOINING}, "serve"),
        ({"state": ServerState.LEFT}, "serve"),
        ({"model": "cd" * 32}, "model"),
        ({"numerics": "other"}, "numerics"),
        ({"layers": Span(0, 2)}, "layers"),
        ({"layers": Span(3, 4)}, "layers"),
    ],
)
async def test_what_cant_be_the_next_hop_is_refused_before_anything_is_dialled(monkeypatch, changes, word):
    with door() as (endpoint, listener):
        async with first_hop(monkeypatch) as (swarm, client):
            reason, words, _ = await refused(swarm, client, downstream(endpoint, **changes))
            assert (reason, word in words) == (Reason.NEXT_HOP_UNREACHABLE, True)
        assert knocks(listener) == 0


def test_records_that_fit_are_those_that_serve_what_comes_next():
    for fits in (
        RECORD,
        replace(RECORD, state=ServerState.DRAINING),  # it keeps the sessions that it has
        replace(RECORD, layers=Span(1, 3)),  # the route enters it in the middle
        replace(RECORD, expires_at=NOW - 30),  # clocks differ
    ):
        check_next(fits, TERMS, NOW)
    with pytest.raises(Refused, match="itself"):
        check_next(replace(RECORD, peer_id=PeerId("us")), TERMS, NOW)


async def test_a_client_soon_has_had_enough_doors_tried(monkeypatch):
    monkeypatch.setattr(dial_allowance, "BOUND", RateBound(in_all=9, per_source=9, per_key=3))
    monkeypatch.setattr(next_hops, "DIAL_SECONDS", 0.01)
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        with door() as (endpoint, listener):
            found = [(await refused(swarm, client, downstream(endpoint)))[0] for _ in range(6)]
            assert found == [Reason.NEXT_HOP_UNREACHABLE] * 3 + [Reason.BUSY] * 3
            assert knocks(listener) == 3
        async with wire_client() as another:
            monkeypatch.setattr(next_hops, "DIAL_SECONDS", 60.0)
            last = await another.open(swarm.members[1])
            await another.open(swarm.members[0], last.downstream())
        # A door that has opened is new to nobody.
        last = await client.open(swarm.members[1])
        await client.open(swarm.members[0], last.downstream())


async def test_a_known_server_that_names_another_address_is_a_new_door(monkeypatch):
    """Else one that opens could have a stranger's doors tried beside its own, as many as it likes."""
    monkeypatch.setattr(dial_allowance, "BOUND", RateBound(in_all=9, per_source=9, per_key=4))
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        first, last = swarm.members
        await client.open(first, (await client.open(last)).downstream())
        found = []
        for port in (1, 2, 3):
            target = (await client.open(last)).downstream()
            record = replace(last.record(), maddrs=(f"/ip4/127.0.0.1/tcp/{port}/p2p/{last.peer_id}",))
            target.record = announcement.encode(record, last.identity)
            try:
                await client.open(first, target)
            except RefusedError as error:
                found.append(error.reason)
        assert found == [Reason.BUSY] * 2


async def test_of_many_sessions_that_name_the_same_new_door_one_knocks(monkeypatch):
    with door() as (endpoint, listener):
        async with first_hop(monkeypatch) as (swarm, client):
            target = downstream(endpoint)
            answers = await asyncio.gather(*(refused(swarm, client, target) for _ in range(10)))
            assert {reason for reason, *_ in answers} == {Reason.NEXT_HOP_UNREACHABLE}
        assert knocks(listener) == 1


async def test_when_the_one_that_knocks_goes_away_another_takes_its_place(monkeypatch):
    monkeypatch.setattr(next_hops, "DIAL_SECONDS", 60.0)
    with door() as (endpoint, listener):
        async with fake_swarm([Span(0, 2)]) as swarm, wire_client() as one, wire_client() as other:
            hops = swarm.members[0].handler._next_hops
            target = downstream(endpoint)
            opening = asyncio.create_task(one.open(swarm.members[0], target))
            await until(lambda: len(hops._scouts) == 1)
            waiting = asyncio.create_task(other.open(swarm.members[0], target))
            await until(lambda: len(swarm.members[0].sessions) == 2)
            (before,) = hops._scouts.values()
            swarm.members[0].sessions.leases[0].end(Refused(Reason.IDLE, "the first one is over"))
            opening.cancel()
            await asyncio.wait({opening})
            await until(lambda: before.done() and len(hops._scouts) == 1)
            waiting.cancel()
            await asyncio.wait({waiting})
        assert knocks(listener) >= 1


async def test_many_hops_one_of_which_is_dialled_again_open_and_close_their_lanes(monkeypatch):
    async with fake_swarm([Span(0, 2), Span(2, 4)]) as swarm, wire_client() as client:
        for _ in range(5):
            route = await client.route(*swarm.members)
            for hop in route.hops:
                hop.call.cancel()
        await until(lambda: not swarm.members[0].open_sessions)
        assert not swarm.members[0].handler._next_hops._slots
        assert not swarm.members[0].handler._next_hops._scouts
