"""Connections that ask for too much, or for nothing, on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from p2pinfer.http.connections.patience import DEADLINES, Deadlines
from p2pinfer.http.connections.protocol import MOST_HEAD_BYTES
from p2pinfer.http.connections.proxies import Network, network
from p2pinfer.http.listening import listen
from p2pinfer.http.server import MOST_CONNECTIONS, WebServer
from p2pinfer.tasks import undisturbed

IMPATIENT = Deadlines(silent_seconds=0.1, head_seconds=0.1, body_seconds=0.1)
A_SECOND = Deadlines(silent_seconds=1.0, head_seconds=1.0, body_seconds=1.0)  # for what has to come in time
POST_9 = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: a\r\n"


async def count_body(request: Request) -> Response:
    """Answers with the length of the body."""
    return PlainTextResponse(str(len(await request.body())))


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, content: bytes) -> bytes:
        """Send, and read the head of the answer; empty if the server closes without one."""
        self.writer.write(content)
        async with asyncio.timeout(30):
            try:
                return await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""


class Sources:
    """Opens connections to a server from addresses of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.connections: list[Connection] = []

    async def connect(self, host: str = "127.0.0.1") -> Connection:
        """A connection that comes from an address."""
        opened = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(host, 0))
        self.connections.append(Connection(*opened))
        return self.connections[-1]


@asynccontextmanager
async def serving(
    answer: Callable[[Request], Awaitable[Response]] = count_body,
    *,
    most: int = MOST_CONNECTIONS,
    deadlines: Deadlines = DEADLINES,
    proxies: tuple[Network, ...] = (),
) -> AsyncIterator[Sources]:
    """A server at an address of this machine."""
    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    with listen("127.0.0.1", 0) as listener:
        server = WebServer(
            app, end_streams=lambda: None, most_connections=most, deadlines=deadlines, proxies=proxies
        )
        running = asyncio.create_task(server.serve(sockets=[listener]))
        sources = Sources(listener.getsockname()[1])
        try:
            yield sources
        finally:
            for connection in sources.connections:
                connection.writer.close()
            server.should_exit = True
            await undisturbed(running)


@asynccontextmanager
async def connecting(
    answer: Callable[[Request], Awaitable[Response]] = count_body, *, deadlines: Deadlines = DEADLINES
) -> AsyncIterator[list[Connection]]:
    """Two connections to a server."""
    async with serving(answer, deadlines=deadlines) as sources:
        yield [await sources.connect() for _ in range(2)]


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nx: " + b"a" * 1_000_000, GET + b"x: a\r\n" * 100_000, b"GET /" + b"a" * 1_000_000],
)
async def test_a_head_without_end_is_refused(head: bytes):
    async with connecting() as (connection, other):
        assert b" 431 " in await connection.ask(head)
        assert b" 200 " in await other.ask(GET + b"\r\n")


async def test_a_long_body_is_no_long_head():
    body = b"x" * (4 * MOST_HEAD_BYTES)
    head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with connecting() as (connection, _):
        assert b" 200 " in await connection.ask(head + body)
        assert await connection.reader.readexactly(6) == b"262144"
        assert b" 200 " in await connection.ask(GET + b"\r\n")


@pytest.mark.parametrize("begun", [b"", GET, POST_9 + b"1234"], ids=["nothing", "half a head", "half a body"])
async def test_a_request_that_does_not_come_ends_the_connection(begun: bytes):
    async with connecting(deadlines=IMPATIENT) as (connection, _):
        answer = await connection.ask(begun)
        assert b" 408 " in answer or b" 400 " in answer
        sentence = await connection.reader.read()
        assert b" 408 " not in answer or sentence.endswith(b"send less of it at once, or faster.\n")


async def test_a_head_that_comes_byte_by_byte_has_no_more_time():
    """The clock begins with its first byte, whatever follows."""
    async with connecting(deadlines=replace(DEADLINES, head_seconds=0.1)) as (connection, _):
        connection.writer.write(GET + b"x: ")
        answer = asyncio.create_task(connection.ask(b""))
        for _ in range(200):
            connection.writer.write(b"a")
            await asyncio.sleep(0.01)
            if answer.done():
                break
        assert b" 408 " in await answer


async def test_an_answer_may_take_longer_than_its_request():
    """Only what has not been asked yet is waited for."""

    async def slow(_: Request) -> Response:
        await asyncio.sleep(1.5)
        return PlainTextResponse("late")

    async with connecting(slow, deadlines=A_SECOND) as (connection, _):
        assert b" 200 " in await connection.ask(GET + b"\r\n")


async def test_connections_that_are_kept_are_asked_again():
    async with connecting() as (connection, _):
        for _ in range(3):
            assert b" 200 " in await connection.ask(GET + b"\r\n")
            await connection.reader.readexactly(1)


async def test_a_long_body_has_more_time_as_long_as_it_comes():
    """200 MB take minutes. What stands still in the middle is refused like any other."""
    async with connecting(deadlines=replace(A_SECOND, least_bytes=1)) as (connection, other):
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60\r\n\r\n"
        connection.writer.write(head)
        refused = asyncio.create_task(other.ask(head + b"xxx"))
        for _ in range(60):
            connection.writer.write(b"x")
            await asyncio.sleep(0.03)
        assert b" 200 " in await connection.ask(b"")
        assert b" 408 " in await refused


async def test_who_never_reads_an_answer_is_dropped():
    """Its application hears that the client has left."""
    left = asyncio.Event()

    async def endless(_: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 100_000
                    await asyncio.sleep(0)
            finally:
                left.set()

        return StreamingResponse(parts())

    async with connecting(endless, deadlines=replace(DEADLINES, answer_seconds=0.1)) as (silent, _):
        silent.writer.write(GET + b"\r\n")
        async with asyncio.timeout(30):
            await left.wait()


async def test_half_requests_of_one_source_keep_nobody_out():
    """Neither from elsewhere nor from the same network: the oldest that waits goes."""
    async with serving(most=8) as sources:
        half = [await sources.connect("127.1.1.1") for _ in range(20)]
        for connection in half:
            connection.writer.write(GET)
        for host in ("127.0.0.1", "127.1.1.2"):
            visitor = await sources.connect(host)
            assert b" 200 " in await visitor.ask(GET + b"\r\n")


async def test_sixteen_sources_keep_nobody_out():
    async with serving(most=32) as sources:
        visitor = await sources.connect()
        assert b" 200 " in await visitor.ask(GET + b"\r\n")
        for number in range(320):
            connection = await sources.connect(f"127.1.{number % 16}.1")
            connection.writer.write(GET)
        newcomer = await sources.connect("127.0.1.1")
        for one in (newcomer, visitor):  # who was here before is here still
            assert b" 200 " in await one.ask(GET + b"\r\n")


async def test_answers_without_end_leave_places_for_requests():
    """The oldest of the source that has most of them ends."""

    async def endless(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            await asyncio.Event().wait()

        return StreamingResponse(parts()) if request.client.host != "127.0.0.1" else PlainTextResponse("")

    async with serving(endless, most=8) as sources:
        listeners = [await sources.connect("127.1.1.1") for _ in range(12)]
        for listener in listeners:
            await listener.ask(GET + b"\r\n")
        visitor = await sources.connect()
        assert b" 200 " in await visitor.ask(GET + b"\r\n")
        async with asyncio.timeout(30):
            await listeners[0].reader.read()


async def test_behind_a_proxy_visitors_are_told_apart():
    """The application, too, hears of the visitor; from others the header counts nothing."""

    async def whoami(request: Request) -> Response:
        return PlainTextResponse(request.client.host)

    named = GET + b"x-forwarded-for: 198.51.100.1, 203.0.113.7\r\n\r\n"
    async with serving(whoami, proxies=(network("127.0.0.1"),)) as sources:
        for host, expected in (("127.0.0.1", b"203.0.113.7"), ("127.0.0.2", b"127.0.0.2")):
            connection = await sources.connect(host)
            await connection.ask(named)
            assert await connection.reader.readexactly(len(expected)) == expected


async def test_few_requests_wait_behind_one():
    """A connection may send some ahead; thousands would each take memory."""

    may_answer = asyncio.Event()

    async def slow(_: Request) -> Response:
        await may_answer.wait()
        return PlainTextResponse("")

    async with connecting(slow) as (connection, other):
        connection.writer.write((GET + b"\r\n") * 5_000)
        assert b" 200 " not in await connection.ask(b"")
        may_answer.set()
        assert b" 200 " in await other.ask((GET + b"\r\n") * 2)
