"""More connections than there are places: idle ones make room, sessions go on, and nobody is turned away."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest

from p2pinfer.server.door.front_door import listen_on
from p2pinfer.server.door.guests import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE, Guests
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from tests.fakes import fake_swarm, random_hidden, run_locally
from tests.server.door.test_front_door import GRPC, ask, door_to, echo_service, no_free_descriptors
from tests.server.wire_client import SECONDS, opened, until, wire_client


@contextmanager
def room_for_files(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"needs {number} open files, and this system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Connections that shake hands as gRPC does, and then say nothing."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._port = port
        self._host = host
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._tls.set_alpn_protocols(["h2"])
        self._members: list[asyncio.StreamWriter] = []
        self._readers: list[asyncio.StreamReader] = []

    async def grow(self, number: int) -> None:
        """Every fiftieth goes through with the handshake, which takes 5 ms; the others begin one."""
        for index in range(number):
            tls = self._tls if index % 50 == 0 else None
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=tls, local_addr=(self._host, 0)
            )
            if tls is None:
                writer.write(b"\x16")
            self._members.append(writer)
            self._readers.append(reader)

    @property
    def present(self) -> int:
        """How many haven't been closed of those that said one byte."""
        begun = [reader for index, reader in enumerate(self._readers) if index % 50]
        return sum(not reader.at_eof() and reader.exception() is None for reader in begun)

    def leave(self) -> None:
        for writer in self._members:
            writer.transport.abort()


async def test_client_1025_gets_in_and_a_session_from_before_goes_on():
    """And a client whose idle connection was closed connects again without noticing."""
    steps = random_hidden(3)
    with room_for_files(MAX_CONNECTIONS * 4 + 1000):
        async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route, AsyncExitStack() as stack:
            [member] = swarm.members
            idle = await (await stack.enter_async_context(wire_client())).stub(member)
            await idle.Ping(pb.PingRequest())
            outputs = [await route.run(steps[:1], 0)]
            crowd = Crowd(member.port)
            stack.callback(crowd.leave)
            await crowd.grow(MAX_CONNECTIONS + 76)
            late = await (await stack.enter_async_context(wire_client())).stub(member)
            assert (await late.Ping(pb.PingRequest())).server == member.peer_id
            assert (await idle.Ping(pb.PingRequest())).server == member.peer_id
            outputs += [await route.run(steps[1:2], 1), await route.run(steps[2:], 2)]
            assert len(member.sessions) == 1

    expected = run_locally(steps, 2)
    assert all((ours == right).all() for ours, right in zip(outputs, expected, strict=True))


async def test_a_crowd_of_another_network_keeps_nobody_out_and_has_its_share_soon():
    """1,100 connections that say one byte."""
    with room_for_files(MAX_CONNECTIONS * 4 + 1000):
        async with fake_swarm([Span(0, 2)]) as swarm, AsyncExitStack() as stack:
            [member] = swarm.members
            crowd = Crowd(member.port, "127.1.1.1")
            stack.callback(crowd.leave)
            await crowd.grow(1100)
            client = await stack.enter_async_context(wire_client())
            async with asyncio.timeout(SECONDS):
                await client.open(member)
            await until(lambda: crowd.present <= MAX_CONNECTIONS_PER_SOURCE)
            assert len(member.sessions) == 1


@asynccontextmanager
async def guest_of(listener: socket.socket) -> AsyncIterator[asyncio.StreamReader]:
    """A connection that has had an answer."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(GRPC)
    assert await reader.readexactly(len(GRPC)) == GRPC
    yield reader
    writer.close()


async def ends(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection."""
    return await asyncio.wait_for(reader.read(), SECONDS) == b""


async def test_when_all_places_are_taken_the_first_to_go_connection_is_closed(tmp_path):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path, most=2).open([listener]):
        async with guest_of(listener) as first, guest_of(listener) as second, guest_of(listener) as third:
            assert await ends(first)
            assert not second.at_eof()
            assert not third.at_eof()


async def test_where_all_connections_are_in_use_a_newcomer_is_turned_away(tmp_path):
    path, listener, guests = tmp_path / "grpc.sock", listen_on("127.0.0.1:0"), Guests()
    async with await echo_service(path), door_to(path, guests, most=1).open([listener]):
        async with guest_of(listener) as first:
            busy = guests.first_to_go()
            assert busy is not None
            guests.call_began(busy, 1.0, is_session=True)
            newcomer, writer = await asyncio.open_connection(*listener.getsockname())
            assert await ends(newcomer)
            writer.close()
            guests.call_ended(busy, 2.0, is_session=True)
            assert await ask(listener, GRPC) == GRPC
            assert await ends(first)


async def test_without_descriptors_an_idle_connection_makes_room(tmp_path):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]), guest_of(listener) as idle:
        newcomer = socket.socket()
        newcomer.setblocking(False)
        with contextlib.closing(newcomer), no_free_descriptors():
            await asyncio.get_running_loop().sock_connect(newcomer, listener.getsockname())
            assert await ends(idle)


async def test_no_file_is_left_of_a_connection(tmp_path):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]), guest_of(listener):
        assert [one.name for one in tmp_path.iterdir()] == ["grpc.sock"]
