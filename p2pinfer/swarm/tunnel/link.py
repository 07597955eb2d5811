"""A stream while it carries a tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from p2pinfer.swarm.tunnel.messages import Kind, Message, encode, read_message
from p2pinfer.swarm.tunnel.state import State
from p2pinfer.swarm.tunnel.streams import OpenedStream, abort
from p2pinfer.tasks import first_of


class Link:
    """One stream of a tunnel, from the handshake on."""

    def __init__(self, stream: OpenedStream, state: State, position: int) -> None:
        """`position` is where the other end wants to read on."""
        self.way = stream.way
        self.writer = stream.writer
        self._reader = stream.reader
        self._state = state
        self._position = position
        self._is_behind = asyncio.Event()
        self._most_waiting = stream.writer.transport.get_write_buffer_limits()[1]

    def flush(self) -> None:
        """Write what there is. The rest of what doesn't fit into the buffers follows when they are empty.

        Not in a task: a message of a session must not wait for another turn of the event loop.
        """
        transport = self.writer.transport
        while transport.get_write_buffer_size() <= self._most_waiting:
            if transport.is_closing():
                return
            data, self._position = self._state.next_bytes(self._position)
            if not data:
                return
            # Not `writelines`: drain() doesn't wait after it in Python 3.12.0-3.12.8 and 3.13.0-3.13.1, and
            # what a slow reader leaves piles up here (CVE-2024-12254).
            self.writer.write(data)
        self._is_behind.set()

    def say_break(self) -> None:
        """Tell the other end that the tunnel is broken for good."""
        if not self.writer.transport.is_closing():
            self.writer.write(encode(Kind.BREAK))

    def abort(self) -> None:
        """Close the stream, and throw away what waits in it."""
        abort(self.writer)

    async def run(self, handle: Callable[[Message], Awaitable[None]]) -> None:
        """Write, and let `handle` take what comes, until it raises or the stream ends (OSError, EOFError)."""

        async def receive() -> None:
            while True:
                await handle(await read_message(self._reader))

        await first_of(receive(), self._catch_up())

    async def _catch_up(self) -> None:
        while True:
            await self._is_behind.wait()
            await self.writer.drain()
            self._is_behind.clear()
            self.flush()
