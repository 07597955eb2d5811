"""Waiting for what sources tell, and the real servers they are connected to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.readings import Signal, Value

PATIENCE_SECONDS = 30.0


class Watch:
    """A `Known`, and waiting until it says something."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.changes = 0
        self._changed = asyncio.Event()
        self.known = Known(now=now, on_change=self.change)

    def change(self) -> None:
        self.changes += 1
        self._changed.set()

    def value(self, signal: Signal) -> Value | None:
        reading = self.known.readings().get(signal)
        return None if reading is None else reading.value

    def words(self, signal: Signal) -> str:
        return self.known.readings()[signal].words

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds; it is looked at whenever something changes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_known(self, signal: Signal, value: Value) -> None:
        await self.until(lambda: self.value(signal) == value)

    async def until_trouble(self, origin: str, words: str) -> None:
        await self.until(lambda: words in self.known.troubles().get(origin, ""))


async def eventually(condition: Callable[[], bool]) -> None:
    """For what changes without telling: readings that are only vouched for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(*sources: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Sources that run while the block does; to end them may not wait for their servers."""
    tasks = [asyncio.create_task(source) for source in sources]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=10.0)
        assert not left, "a source holds up the end"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Relay:
    """A cable between a source and its server, to be cut or to fall silent."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: list[asyncio.StreamWriter] = []
        self._open = asyncio.Event()
        self._open.set()
        self.connections = 0
        self.port = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Relay]:
        relay = cls(port)
        server = await asyncio.start_server(relay._carry, "127.0.0.1", 0)
        relay.port = server.sockets[0].getsockname()[1]
        try:
            yield relay
        finally:
            relay.cut()
            server.close()

    def fall_silent(self) -> None:
        """Pass nothing on any more, in either direction, and close no connection."""
        self._open.clear()

    def speak(self) -> None:
        self._open.set()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers += [writer, onward_writer]
            await asyncio.gather(self._copy(reader, onward_writer), self._copy(onward_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
