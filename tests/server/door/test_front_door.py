"""One port for two protocols: a bad connection doesn't disturb the others, and no fault is silent."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from p2pinfer.server.door import front_door
from p2pinfer.server.door.front_door import FrontDoor, listen_on
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.lanes import Lane

SECONDS = 5.0


async def echo_service(path: Path) -> asyncio.Server:
    """Stands for gRPC behind the door."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    return await asyncio.start_unix_server(answer, path)


def door_to(path: Path) -> FrontDoor:
    def adopt(lane: Lane) -> None:
        raise AssertionError("no lane was opened")

    return FrontDoor(str(path), new_certificate().lanes, adopt)


async def ask(listener: socket.socket, question: bytes) -> bytes:
    """Everything that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        writer.write(question)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), SECONDS)
    except ConnectionResetError:  # closed before the question was read
        return b""
    finally:
        writer.close()


async def test_bytes_that_begin_no_lane_reach_the_service_and_its_answer_comes_back(tmp_path):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        assert await ask(listener, b"\x16 hello") == b"\x16 hello"
    assert listener.fileno() == -1


async def test_a_service_that_is_away_closes_the_connection_and_nothing_else(tmp_path, caplog):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with door_to(path).open([listener]):
        assert await ask(listener, b"\x16") == b""
        async with await echo_service(path):
            assert await ask(listener, b"\x16") == b"\x16"
    assert caplog.text == ""


async def test_a_connection_that_fails_unexpectedly_ends_alone_and_is_logged(tmp_path, monkeypatch, caplog):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        with monkeypatch.context() as patch:
            patch.setattr(front_door, "is_lane", lambda first_byte: 1 / 0)
            assert await ask(listener, b"\x16") == b""
        assert await ask(listener, b"\x16") == b"\x16"
    assert "ZeroDivisionError" in caplog.text and "Traceback" in caplog.text


async def test_when_accepting_fails_unexpectedly_the_door_closes_loudly(tmp_path, monkeypatch):
    """A server that can't take connections must not go on as if it could."""

    async def fail(listener: socket.socket) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", fail)
    listener = listen_on("127.0.0.1:0")
    with pytest.raises(KeyError, match="a fault"):
        async with asyncio.timeout(SECONDS), door_to(tmp_path / "grpc.sock").open([listener]):
            await asyncio.Event().wait()
    assert listener.fileno() == -1
