"""gRPC through libp2p, with two real nodes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import psutil
import pytest
import pytest_asyncio

from p2pinfer.identity import Identity
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel import dial, expose
from p2pinfer.tasks import Nursery
from p2pinfer.wire.certificates import SERVER_NAME, new_certificate, pinned
from tests.swarm.conftest import join_here

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
        dial(client, server.peer_id) as path,
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
            async with dial(client, server.peer_id) as path:
                assert await echo_once(path, certificate, b"x") == b"x"

        async def settled(measure: Any, goal: int) -> int:
            """The value once it is at most `goal`, or after a second: closing takes a few loop turns."""
            for _ in range(100):
                if measure() <= goal:
                    break
                await asyncio.sleep(0.01)
            value: int = measure()
            return value

        def count_tasks() -> int:
            return len(asyncio.all_tasks())

        for _ in range(3):
            await cycle()
        await settled(count_tasks, 0)
        tasks, descriptors = count_tasks(), process.num_fds()
        for _ in range(50):
            await cycle()

        assert await settled(count_tasks, tasks) <= tasks
        assert await settled(process.num_fds, descriptors) <= descriptors
        (folder,) = {client.private_folder}
        assert [name.name for name in folder.iterdir() if name.name.startswith("dial")] == []


@asynccontextmanager
async def service(path: Path, handler: Any) -> AsyncIterator[None]:
    """A server on a Unix socket whose connections end with the block."""
    writers: list[asyncio.StreamWriter] = []

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        handlers.start(handler(reader, writer))

    async with Nursery() as handlers:
        server = await asyncio.start_unix_server(take, path)
        try:
            yield
        finally:
            server.close()
            for writer in writers:
                writer.transport.abort()


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
        dial(client, server.peer_id) as path,
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"abc")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b"cba"
        writer.close()


async def test_a_reader_that_sleeps_holds_the_writer_back(nodes: Nodes, tmp_path: Path) -> None:
    """Nothing piles up in the tunnel: what fits into the sockets on the way is all that is taken."""

    server, client = nodes

    async def never_read(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.transport.abort()

    async with (
        service(tmp_path / "s.sock", never_read),
        expose(server, tmp_path / "s.sock"),
        dial(client, server.peer_id) as path,
    ):
        _, writer = await asyncio.open_unix_connection(path)

        async def write_much() -> None:
            for _ in range(64):
                writer.write(bytes(1 << 20))
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_much(), 1.0)
        writer.transport.abort()


@pytest.mark.parametrize("kilobytes", range(128, 384, 32))
async def test_a_tunnel_that_is_left_while_it_flushes_closes_both_sides(
    tmp_path: Path, kilobytes: int
) -> None:
    """Of some sizes a part waits in the tunnel, because nothing reads it; an open side would stay open."""
    answered, closed = asyncio.Event(), asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunk = bytes(32 * 1024)
        for part in [chunk] * (kilobytes // 32) + [b""]:
            writer.write(len(part).to_bytes(4, "big") + part)
        assert await reader.readexactly(4) == bytes(4)
        answered.set()
        with suppress(ConnectionResetError):
            await reader.read()
        closed.set()

    async def open_stream(*_: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(tmp_path / "peer.sock")

    swarm: Any = SimpleNamespace(private_folder=tmp_path, open_stream=open_stream)
    async with service(tmp_path / "peer.sock", peer):
        async with dial(swarm, Identity.ephemeral().peer_id) as path:
            with socket.socket(socket.AF_UNIX) as near:
                near.setblocking(False)
                await asyncio.get_running_loop().sock_connect(near, path)
                near.shutdown(socket.SHUT_WR)
                await asyncio.wait_for(answered.wait(), 5)
                for _ in range(50):  # turns of the loop, so that all that fits has been passed on
                    await asyncio.sleep(0)
                leaving = time.monotonic()
        assert time.monotonic() - leaving < 2
        await asyncio.wait_for(closed.wait(), 1)


async def test_streams_beyond_the_limit_are_closed_at_once(nodes: Nodes, tmp_path: Path) -> None:
    server, client = nodes

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def works(path: str) -> tuple[bool, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(b"x")
            return await asyncio.wait_for(reader.read(1), 5) == b"x", writer
        except OSError:
            return False, writer

    async with (
        service(tmp_path / "s.sock", echo),
        expose(server, tmp_path / "s.sock", max_streams_per_peer=2),
        dial(client, server.peer_id) as path,
    ):
        outcomes = [await works(path) for _ in range(4)]
        assert [outcome for outcome, _ in outcomes] == [True, True, False, False]
        for _, writer in outcomes:
            writer.close()


async def test_a_peer_that_isnt_there_closes_the_connection(nodes: Nodes) -> None:
    _, client = nodes
    async with dial(client, Identity.ephemeral().peer_id) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        assert await asyncio.wait_for(reader.read(), 12) == b""
        writer.close()
