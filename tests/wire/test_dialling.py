"""A server is reached by whichever of its ways stands first, over real sockets, channels and lanes alike."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from p2pinfer.errors import HopFailedError, SwarmError
from p2pinfer.types import Address, PeerId, Span, Way
from p2pinfer.wire import dialling
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.certificates import LANE_PROTOCOL
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.dialling import first_connection
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.lane_handshake import lane_to
from p2pinfer.wire.reach.client_hello import read_client_hello
from p2pinfer.wire.reach.endpoints import Endpoint
from p2pinfer.wire.reach.winners import TUNNEL, Winners
from tests.fakes import FakeServer, fake_swarm
from tests.server.wire_client import address_of, until

LONG_SECONDS = 20.0


@pytest.fixture(autouse=True)
def winners(monkeypatch) -> Winners:
    """No test begins with what another one has learned."""
    monkeypatch.setattr(dialling, "WINNERS", found := Winners())
    return found


class Tunnels:
    """Ways with a tunnel to one member: a unix socket whose bytes are led to the member's port."""

    def __init__(self, member: FakeServer, *, forbidden: frozenset[str] = frozenset()) -> None:
        self.member = member
        self.forbidden = forbidden
        self.asked: list[str] = []
        self.opened = self.open = 0
        self.fails = False

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        self.asked.append(host)
        return host not in self.forbidden

    @asynccontextmanager
    async def tunnel(self, address: Address) -> AsyncIterator[str]:
        if self.fails:
            raise SwarmError("p2pd is away")
        self.opened += 1
        self.open += 1

        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection("127.0.0.1", self.member.port)
            with contextlib.suppress(OSError):
                await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(1 << 16):
                    target.write(data)
            finally:
                target.close()

        with tempfile.TemporaryDirectory() as folder:
            server = await asyncio.start_unix_server(lead, path := Path(folder) / "tunnel.sock")
            try:
                yield str(path)
            finally:
                server.close()
                self.open -= 1

    def way_of_tunnel(self, peer_id: PeerId) -> Way:
        return Way.PUNCHED


@contextmanager
def silent_endpoint() -> Iterator[tuple[str, socket.socket]]:
    """HOST:PORT where connections are accepted by the system, and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


def closed_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def at(member: FakeServer, *endpoints: str) -> Address:
    return replace(address_of(member), endpoints=endpoints)


async def pinged(pool: ChannelPool, address: Address) -> PeerId:
    async with pool.connected(address) as channel:
        return (await InferenceStub(channel).Ping(pb.PingRequest())).server


@asynccontextmanager
async def pool_with(ways: Tunnels | None, seconds: float = LONG_SECONDS) -> AsyncIterator[ChannelPool]:
    pool = ChannelPool(ways=ways, connect_seconds=seconds)
    try:
        yield pool
    finally:
        await pool.close()
        assert ways is None or ways.open == 0


async def by_channel(address: Address, seconds: float) -> None:
    async with pool_with(None, seconds) as pool:
        await pinged(pool, address)


async def by_lane(address: Address, seconds: float) -> None:
    async with lane_to(address, None, seconds) as lane:
        lane.close()


async def test_two_addresses_that_lead_nowhere_cost_two_head_starts_before_the_tunnel():
    with silent_endpoint() as (one, _), silent_endpoint() as (other, _):
        async with fake_swarm([Span(0, 2)]) as swarm:
            [member] = swarm.members
            async with pool_with(ways := Tunnels(member)) as pool:
                began = time.monotonic()
                assert await pinged(pool, at(member, one, other)) == member.peer_id
                assert 0.4 < time.monotonic() - began < LONG_SECONDS / 2
                assert pool.way_to(member.peer_id) is Way.PUNCHED
                assert ways.open == 1


async def test_a_lane_goes_through_the_tunnel_too_and_remembers_it():
    with silent_endpoint() as (one, _), silent_endpoint() as (other, heard):
        async with fake_swarm([Span(0, 2)]) as swarm:
            [member] = swarm.members
            ways = Tunnels(member)
            for _ in range(2):
                async with lane_to(at(member, one, other), ways, LONG_SECONDS) as lane:
                    assert ways.open == 1
                    lane.close()
                assert ways.open == 0
            assert ways.opened == 2
            heard.setblocking(False)
            heard.accept()[0].close()
            with pytest.raises(BlockingIOError):  # the second time nobody knocked here
                heard.accept()


async def test_an_address_that_works_is_preferred_to_the_tunnel():
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        async with pool_with(ways := Tunnels(member)) as pool:
            assert pool.way_to(member.peer_id) is None
            await pinged(pool, at(member, closed_endpoint(), f"127.0.0.1:{member.port}"))
            assert pool.way_to(member.peer_id) is Way.DIRECT
        assert ways.opened == 0


async def test_all_ways_together_have_one_deadline():
    with silent_endpoint() as (one, _), silent_endpoint() as (other, _):
        async with fake_swarm([Span(0, 2)]) as swarm:
            [member] = swarm.members
            for dial in (by_lane, by_channel):
                began = time.monotonic()
                with pytest.raises(HopFailedError, match="unreachable"):
                    await dial(at(member, one, other), 0.3)
                assert time.monotonic() - began < LONG_SECONDS / 2


async def test_a_winner_that_is_gone_is_forgotten_and_the_others_are_tried(winners):
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        ways = Tunnels(member)
        async with pool_with(ways) as pool:
            await pinged(pool, at(member, closed_endpoint()))
        assert winners.of(member.peer_id, time.monotonic()) == TUNNEL
        ways.fails = True
        async with pool_with(ways) as pool:
            await pinged(pool, at(member, closed_endpoint(), f"127.0.0.1:{member.port}"))
        expected = Endpoint(ipaddress.ip_address("127.0.0.1"), member.port)
        assert winners.of(member.peer_id, time.monotonic()) == expected
        with pytest.raises(HopFailedError):
            async with pool_with(ways) as pool:
                await pinged(pool, at(member, closed_endpoint()))


async def test_a_caller_that_gives_up_leaves_no_tunnel_and_no_connection_open():
    with silent_endpoint() as (one, heard):
        async with fake_swarm([Span(0, 2)]) as swarm:
            [member] = swarm.members
            ways, address = Tunnels(member), at(member, one)
            member.port = int(one.rpartition(":")[2])  # the tunnel leads there, too
            async with pool_with(ways) as pool:
                calling = asyncio.create_task(pinged(pool, address))
                await until(lambda: ways.open == 1)
                calling.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await calling
            assert ways.open == 0
            knocking, _ = heard.accept()
            with knocking:
                knocking.settimeout(5)
                with contextlib.suppress(ConnectionError):
                    while knocking.recv(4096):
                        pass


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "[::ffff:7f00:1]"]
)
async def test_who_may_not_be_dialled_hears_nothing_however_the_address_is_written(host):
    """The judge sees the address that would be dialled, and no name."""
    with silent_endpoint() as (endpoint, heard):
        port = endpoint.rpartition(":")[2]
        async with fake_swarm([Span(0, 2)]) as swarm:
            [member] = swarm.members
            ways = Tunnels(member, forbidden=frozenset({"127.0.0.1", "::1"}))
            async with pool_with(ways) as pool:
                await pinged(pool, at(member, f"{host}:{port}"))
            assert set(ways.asked) <= {"127.0.0.1", "::1"}
            ways.fails = True
            with pytest.raises(HopFailedError, match="not dialled from this network"):
                async with lane_to(at(member, f"{host}:{port}"), ways, 1.0):
                    pass
        heard.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard.accept()


async def test_a_name_is_resolved_once_and_what_was_judged_is_dialled(monkeypatch):
    """A second resolution might give another address than the one that was judged."""
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", member.port))]])
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: next(answers))
        async with pool_with(ways := Tunnels(member)) as pool:
            await pinged(pool, at(member, f"car.example:{member.port}"))
            assert pool.way_to(member.peer_id) is Way.DIRECT
        assert ways.asked == ["127.0.0.1"]


async def test_names_whose_resolver_never_answers_hold_up_no_other_way(monkeypatch):
    waiting = []

    def never(*args: object, **options: object) -> list[object]:
        waiting.append(1)
        time.sleep(0.5)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", never)
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        async with pool_with(None) as pool:
            await pinged(pool, at(member, *(f"n{n}.example:9" for n in range(7)), f"127.0.0.1:{member.port}"))
    assert len(waiting) == dialling.MOST_NAMES


async def test_nothing_but_a_client_hello_is_written_before_the_certificate_was_seen():
    """Neither by lanes nor by gRPC, to whoever listens there."""
    with silent_endpoint() as (endpoint, heard):
        async with fake_swarm([Span(0, 2)]) as swarm:
            [member] = swarm.members
            written = []
            for dial in (by_lane, by_channel):
                with pytest.raises(HopFailedError):
                    await dial(at(member, endpoint), 0.3)
                knocking, _ = heard.accept()
                with knocking:
                    data = b""
                    with contextlib.suppress(ConnectionError):
                        while part := knocking.recv(1 << 16):
                            data += part
                written.append(data)
    hellos = [read_client_hello(data) for data in written]
    assert [hello.protocols for hello in hellos] == [(LANE_PROTOCOL.encode(),), (b"h2",)]
    assert [len(data) for data in written] == [5 + int.from_bytes(data[3:5]) for data in written]


async def test_a_server_of_another_version_is_unreachable_by_lanes(monkeypatch):
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        monkeypatch.setattr("p2pinfer.wire.certificates.LANE_PROTOCOL", "p2pinfer-lane/6")
        with pytest.raises(HopFailedError, match="unreachable"):
            async with lane_to(address_of(member), None, LONG_SECONDS):
                pass


async def test_new_relays_change_nothing_for_who_is_connected_directly():
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        address = at(member, f"127.0.0.1:{member.port}")
        async with pool_with(None) as pool:
            async with pool.connected(address) as first:
                pass
            async with pool.connected(replace(address, relays=("/ip4/192.0.2.1/tcp/1/p2p/Qm",))) as again:
                assert again is first
            other = replace(address, endpoints=(closed_endpoint(), *address.endpoints))
            async with pool.connected(other) as moved:
                assert moved is not first
            assert first.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_the_first_connection_keeps_its_tunnel_until_the_resources_are_closed():
    async with fake_swarm([Span(0, 2)]) as swarm:
        [member] = swarm.members
        ways, closed = Tunnels(member), []

        async def attempt(target: str) -> str | None:
            return target

        async def discard(target: str) -> None:
            closed.append(target)

        resources = AsyncExitStack()
        address = at(member)
        reached = await first_connection(address, ways, 1.0, attempt, discard, resources)
        assert (reached.is_tunnelled, ways.open, closed) == (True, 1, [])
        assert reached.way(member.peer_id, ways) is Way.PUNCHED
        await resources.aclose()
        assert ways.open == 0
