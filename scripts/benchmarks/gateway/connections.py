"""The benchmark's HTTP client: as little as possible, so that it isn't what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.benchmarks.gateway.events import Streamed, read_answer
from scripts.benchmarks.gateway.plan import Json

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A streamed answer, and when it was asked for."""

    asked_at: float
    answer: Streamed

    @property
    def first_seconds(self) -> float:
        """From the request to the first piece of text."""
        return self.answer.first_at - self.asked_at


class _Reading(asyncio.Protocol):
    """Sends a request at once, and notes what comes until the connection ends."""

    def __init__(self, request: bytes) -> None:
        self.arrivals: list[tuple[float, bytes]] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked_at = time.perf_counter()
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.arrivals.append((time.perf_counter(), data))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def ask_all(port: int, bodies: Sequence[Json]) -> list[Timed]:
    """Send all requests at the same time, each on a connection of its own; wait for all answers.

    Raises AnswerError if one of them is none.
    """
    readings = await asyncio.gather(*(_ask(port, body) for body in bodies))
    return [Timed(asked_at=reading.asked_at, answer=read_answer(reading.arrivals)) for reading in readings]


async def _ask(port: int, body: Json) -> _Reading:
    request = _request("POST", "/v1/chat/completions", json.dumps(body).encode(), close=True)
    _, reading = await asyncio.get_running_loop().create_connection(lambda: _Reading(request), _HOST, port)
    await reading.ended
    return reading


async def get_text(port: int, path: str) -> str:
    """The body of an answer, as text."""
    reader, writer = await asyncio.open_connection(_HOST, port)
    writer.write(_request("GET", path, b"", close=True))
    data = await reader.read()
    writer.close()
    return data.partition(b"\r\n\r\n")[2].decode()


class Silent:
    """Connections that are open and say nothing. An async context manager that closes them."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._number = number
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Silent:
        """Every second one has asked something first, and is kept alive."""
        for place in range(self._number):
            reader, writer = await asyncio.open_connection(_HOST, self._port)
            self._open.append((reader, writer))
            if place % 2:
                writer.write(_request("GET", "/healthz", b"", close=False))
                await reader.readuntil(b"}")
        return self

    async def __aexit__(self, *raised: object) -> None:
        for _, writer in self._open:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self._open), return_exceptions=True)

    @property
    def alive(self) -> int:
        """How many the gateway has not closed."""
        return sum(not reader.at_eof() for reader, _ in self._open)


def _request(method: str, path: str, body: bytes, *, close: bool) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"host: {_HOST}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"connection: {'close' if close else 'keep-alive'}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
