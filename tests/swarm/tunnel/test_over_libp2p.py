"""Tunnels through libp2p, with real nodes on this machine."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import pytest_asyncio

from p2pinfer.identity import Identity
from p2pinfer.outside.certificate import SERVER_NAME
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel.acceptor import expose
from p2pinfer.swarm.tunnel.dialler import Dialler
from p2pinfer.swarm.tunnel.streams import PROTOCOL, OpenedStream
from p2pinfer.types import Address, Way
from p2pinfer.wire.certificates import new_certificate, pinned
from tests.swarm.conftest import QUICK, join_here, p2pd_of, rejoining
from tests.swarm.tunnel.wiring import address_of, echo, service

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def echo_over_tls(path: Path) -> AsyncIterator[bytes]:
    """A gRPC server on a unix socket that sends every message back; gives its certificate."""

    async def echo(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    server = grpc.aio.server()
    handlers = {"Run": grpc.stream_stream_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", handlers),))
    certificate = new_certificate()
    server.add_secure_port(f"unix:{path}", certificate.credentials)
    await server.start()
    try:
        yield certificate.der
    finally:
        await server.stop(None)


def open_channel(path: str | Path, certificate: bytes) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(
        f"unix:{path}", pinned(certificate), options=[("grpc.ssl_target_name_override", SERVER_NAME)]
    )


async def echo_once(path: str, certificate: bytes, message: bytes) -> bytes:
    async with open_channel(path, certificate) as channel:
        call = channel.stream_stream("/Echo/Run")()
        await call.write(message)
        answer: bytes = await call.read()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        return answer


Nodes = tuple[Swarm, Swarm]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[Nodes]:
    """A server and a client, for all tests: a tunnel that is closed leaves nothing behind."""
    async with join_here() as server, join_here(server.addresses, client_only=True) as client:
        yield server, client


async def test_grpc_with_tls_runs_through_the_tunnel(nodes: Nodes, tmp_path: Path) -> None:
    server, client = nodes
    async with (
        echo_over_tls(tmp_path / "grpc.sock") as certificate,
        expose(server, tmp_path / "grpc.sock"),
        client.ways.tunnel(address_of(server.peer_id)) as path,
    ):
        assert await echo_once(path, certificate, b"hello") == b"hello"
        big = bytes(range(256)) * 8192  # 2 MiB, far over what any buffer on the way holds
        assert await echo_once(path, certificate, big) == big


async def test_fifty_connections_leave_nothing_behind(nodes: Nodes, tmp_path: Path) -> None:
    server, client = nodes
    process = psutil.Process()
    async with (
        echo_over_tls(tmp_path / "grpc.sock") as certificate,
        expose(server, tmp_path / "grpc.sock"),
    ):

        async def cycle() -> None:
            async with client.ways.tunnel(address_of(server.peer_id)) as path:
                assert await echo_once(path, certificate, b"x") == b"x"

        async def settled(measure: Any, goal: int, seconds: int = 30) -> int:
            """The value once it is at most `goal`, or after some seconds: closing takes a few loop turns."""
            for _ in range(100 * seconds):
                if measure() <= goal:
                    break
                await asyncio.sleep(0.01)
            value: int = measure()
            return value

        def count_tasks() -> int:
            return len(asyncio.all_tasks())

        for _ in range(3):
            await cycle()
        await settled(count_tasks, 0, 1)
        tasks, descriptors = count_tasks(), process.num_fds()
        for _ in range(50):
            await cycle()

        assert await settled(count_tasks, tasks) <= tasks
        assert await settled(process.num_fds, descriptors) <= descriptors
        assert [path.name for path in client.private_folder.iterdir() if path.suffix == ".sock"] == []


async def test_each_direction_ends_on_its_own(nodes: Nodes, tmp_path: Path) -> None:
    """The client says all it has to say and closes its side; the answer comes after that."""

    server, client = nodes

    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read()  # until the end
        writer.write(question[::-1])
        writer.close()

    async with (
        service(tmp_path / "s.sock", answer_at_the_end),
        expose(server, tmp_path / "s.sock"),
        client.ways.tunnel(address_of(server.peer_id)) as path,
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"abc")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 30) == b"cba"
        writer.close()


async def test_a_peer_that_isnt_there_closes_the_connection(nodes: Nodes) -> None:
    _, client = nodes
    async with client.ways.tunnel(address_of(Identity.ephemeral().peer_id)) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def both_ways(path: str, data: bytes, has_begun: asyncio.Event | None = None) -> bytes:
    """Send `data` to an echo and end; returns what comes back until the other side's end."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    if has_begun is not None:
        has_begun.set()

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    async with asyncio.TaskGroup() as both:
        both.create_task(send())
        received = both.create_task(reader.read())
    writer.close()
    return received.result()


async def test_twenty_megabytes_arrive_in_both_directions_while_streams_end_and_move(
    nodes: Nodes, tmp_path: Path
) -> None:
    server, client = nodes
    chance, data, writers = random.Random(7), random.Random(7).randbytes(20_000_000), []

    async def open_stream(address: Address) -> OpenedStream:
        reader, writer = await client.open_stream(address.peer_id, PROTOCOL)
        writers.append(writer)
        return OpenedStream(reader, writer, Way.TUNNEL)

    async def disturb() -> None:
        for _ in range(3):
            for _ in range(5):
                await asyncio.sleep(chance.uniform(0, 0.05))
                dialler.move(server.peer_id)
            for writer in writers:
                writer.transport.abort()

    dialler = Dialler(open_stream, client.private_folder)
    async with (
        service(tmp_path / "s.sock", echo),
        expose(server, tmp_path / "s.sock"),
        dialler.dial(address_of(server.peer_id)) as path,
    ):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(disturb())
            received = tasks.create_task(both_ways(path, data))
        assert received.result() == data
    assert len(writers) > 5


@pytest.mark.parametrize("whose", ["server", "client"])
async def test_a_transfer_goes_on_after_p2pd_was_killed(whose: str, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(6_000_000)
    has_begun = asyncio.Event()
    async with (
        join_here(pace=QUICK) as server,
        join_here(server.addresses, client_only=True, pace=QUICK) as client,
        service(tmp_path / "s.sock", echo),
        expose(server, tmp_path / "s.sock"),
        client.ways.tunnel(address_of(server.peer_id)) as path,
    ):
        transfer = asyncio.create_task(both_ways(path, data, has_begun))
        await has_begun.wait()
        loser = server if whose == "server" else client
        async with rejoining(loser):
            os.kill(p2pd_of(loser), signal.SIGKILL)
        assert await asyncio.wait_for(transfer, 30) == data
