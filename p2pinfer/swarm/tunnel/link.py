"""A stream while it carries a tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pinfer.swarm.tunnel.messages import MOST_BYTES, Kind, Message, Parser, encode
from p2pinfer.swarm.tunnel.state import State
from p2pinfer.swarm.tunnel.streams import OpenedStream, abort
from p2pinfer.tasks import first_of

_READ_BYTES = 2 * MOST_BYTES


class Link:
    """One stream of a tunnel, from the handshake on."""

    def __init__(self, stream: OpenedStream, state: State, position: int) -> None:
        """`position` is where the other end wants to read on."""
        self.way = stream.way
        self.relay = stream.relay
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
        transport, state = self.writer.transport, self._state
        while not transport.is_closing():
            if transport.get_write_buffer_size() > self._most_waiting:
                self._is_behind.set()
                return
            data, self._position = state.next_bytes(self._position)
            if not data:
                return
            # Not `writelines`: drain() doesn't wait after it in Python 3.12.0-3.12.8 and 3.13.0-3.13.1, and
            # what a slow reader leaves piles up here (CVE-2024-12254).
            self.writer.write(data)
            if self._position == state.sending.end:
                return

    def say_close(self) -> None:
        """Tell the other end that the tunnel is over here; nothing comes behind that."""
        if not self.writer.transport.is_closing():
            self.writer.write(encode(Kind.CLOSE))

    def abort(self) -> None:
        """Close the stream, and throw away what waits in it."""
        abort(self.writer)

    async def run(self, handle: Callable[[Message], None]) -> None:
        """Write, and let `handle` take what comes, until it raises or the stream ends (OSError, EOFError)."""

        async def receive() -> None:
            parser = Parser()
            while data := await self._reader.read(_READ_BYTES):
                for message in parser.feed(data):
                    handle(message)
            raise EOFError("the stream has ended")

        await first_of(receive(), self._catch_up())

    async def _catch_up(self) -> None:
        while True:
            await self._is_behind.wait()
            await self.writer.drain()
            self._is_behind.clear()
            self.flush()
