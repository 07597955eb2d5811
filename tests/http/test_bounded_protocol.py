"""Connections that ask for too much, or for nothing, on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from p2pinfer.http.bounded_protocol import MOST_HEAD_BYTES, BoundedHttp
from p2pinfer.http.listening import listen
from p2pinfer.http.server import WebServer
from p2pinfer.tasks import undisturbed

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
        async with asyncio.timeout(10):
            try:
                return await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""


@asynccontextmanager
async def connecting(
    answer: Callable[[Request], Awaitable[Response]] = count_body,
) -> AsyncIterator[list[Connection]]:
    """Two connections to a server."""
    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    with listen("127.0.0.1", 0) as listener:
        server = WebServer(app, end_streams=lambda: None)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        port = listener.getsockname()[1]
        made = [Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(2)]
        try:
            yield made
        finally:
            for connection in made:
                connection.writer.close()
            server.should_exit = True
            await undisturbed(serving)


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


@pytest.mark.parametrize("begun", [b"", GET, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1234"])
async def test_a_request_that_does_not_come_ends_the_connection(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(BoundedHttp, "request_seconds", 0.05)
    async with connecting() as (connection, _):
        answer = await connection.ask(begun)
        assert b" 408 " in answer or b" 400 " in answer
        assert await connection.reader.read() == b""


async def test_an_answer_may_take_longer_than_its_request(monkeypatch: pytest.MonkeyPatch):
    """Only what has not been asked yet is waited for."""
    monkeypatch.setattr(BoundedHttp, "request_seconds", 0.05)

    async def slow(_: Request) -> Response:
        await asyncio.sleep(0.2)
        return PlainTextResponse("late")

    async with connecting(slow) as (connection, _):
        assert b" 200 " in await connection.ask(GET + b"\r\n")


async def test_connections_that_are_kept_are_asked_again():
    async with connecting() as (connection, _):
        for _ in range(3):
            assert b" 200 " in await connection.ask(GET + b"\r\n")
            await connection.reader.readexactly(1)


async def test_a_long_body_has_more_time_as_long_as_it_comes(monkeypatch: pytest.MonkeyPatch):
    """200 MB take minutes. What stands still in the middle is refused like any other."""
    monkeypatch.setattr(BoundedHttp, "request_seconds", 0.05)
    monkeypatch.setattr(BoundedHttp, "least_body_bytes", 1)
    async with connecting() as (connection, other):
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60\r\n\r\n"
        connection.writer.write(head)
        for _ in range(60):
            connection.writer.write(b"x")
            await asyncio.sleep(0.005)
        assert b" 200 " in await connection.ask(b"")
        assert b" 408 " in await other.ask(head + b"xxx")
