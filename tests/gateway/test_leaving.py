"""Clients that leave, clients that read slowly, and a gateway that stops: nothing goes on for nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.gateway.asking import HELLO
from tests.gateway.serving_app import Running, running
from tests.gateway.stand_in import StandInModel


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what has to come soon."""
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - sockets and servers set no event of ours
            await asyncio.sleep(0.005)


def request(stream: bool) -> bytes:
    """A whole HTTP request."""
    body = json.dumps({"model": "tiny", "messages": HELLO, "stream": stream}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


async def connect(served: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", served.server.port)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_while_it_waits_frees_its_row(stream: bool):
    model = StandInModel()
    model.going.clear()
    async with running(model) as served:
        await until(lambda: served.server.started)
        _, writer = await connect(served)
        writer.write(request(stream))
        await until(lambda: len(model.open_texts) == 1)
        writer.close()
        await until(lambda: not model.open_texts)


async def test_a_client_that_leaves_in_the_middle_frees_its_row():
    model = StandInModel("x" * 3_000)
    async with running(model) as served:
        await until(lambda: served.server.started)
        reader, writer = await connect(served)
        writer.write(request(stream=True))
        await reader.readuntil(b'"content":"x"')
        writer.close()
        await until(lambda: not model.open_texts)


async def test_a_client_that_reads_slowly_holds_its_text_up():
    """The text waits: nothing is kept for the client beyond the buffers of its connection."""
    model = StandInModel("x" * 200_000)
    async with running(model) as served:
        await until(lambda: served.server.started)
        _, writer = await connect(served)
        writer.write(request(stream=True))
        await until(lambda: len(model.open_texts) == 1)
        (text,) = model.open_texts
        made = -1
        while text.made != made:  # until it stands still
            made = text.made
            await asyncio.sleep(0.3)
        assert 0 < made < 100_000
        writer.close()
        await until(lambda: not model.open_texts)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_gateway_that_stops_tells_its_clients(stream: bool):
    """A stream ends with an error event, a request without a first token with status 503."""
    model = StandInModel("xy")
    async with running(model) as served:
        await until(lambda: served.server.started)
        reader, writer = await connect(served)
        if not stream:
            model.going.clear()
        if stream:
            model.pause_after = 1
        writer.write(request(stream))
        if stream:
            await reader.readuntil(b'"content":"x"')
        else:
            await until(lambda: len(model.open_texts) == 1)
        await served.stop()
        rest = (await reader.read()).decode()
        writer.close()
    assert '"code":"stopping"' in rest.replace(": ", ":")
    assert stream or rest.startswith("HTTP/1.1 503")
    assert not model.open_texts
