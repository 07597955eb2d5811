"""One port for gRPC and for lanes: the first byte of a connection says which it is.

gRPC's bytes are copied to and from the unix socket where it listens; TLS ends there. Lanes are accepted
here and handed to whoever runs sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from p2pinfer.errors import ProtocolError
from p2pinfer.wire.lanes import Lane, accept_lane, is_lane, ready, traffic_of

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024

_FIRST_BYTE_SECONDS = 10.0
_COPY_BYTES = 64 * 1024


class FrontDoor:
    """Sorts the connections of some listening sockets."""

    def __init__(self, service_path: str, context: ssl.SSLContext, adopt: Callable[[Lane], None]) -> None:
        self._service_path = service_path
        self._context = context
        self._adopt = adopt
        self._guests: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
        """Accept connections until the block ends; closes the sockets, and what came through for gRPC."""
        tasks = [asyncio.create_task(self._accept_forever(listener)) for listener in listeners]
        try:
            yield
        finally:
            everyone = [*tasks, *self._guests]
            for task in everyone:
                task.cancel()
            await asyncio.gather(*everyone, return_exceptions=True)
            for listener in listeners:
                listener.close()

    async def _accept_forever(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                guest, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors, or the guest has gone again
                logger.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(0.1)
                continue
            if len(self._guests) >= MAX_CONNECTIONS:
                guest.close()
                continue
            task = asyncio.create_task(self._receive(guest))
            self._guests.add(task)
            task.add_done_callback(self._guests.discard)

    async def _receive(self, guest: socket.socket) -> None:
        with contextlib.closing(guest):
            guest.setblocking(False)
            try:
                async with asyncio.timeout(_FIRST_BYTE_SECONDS):
                    await ready(guest, "read")
                    if is_lane(guest.recv(1, socket.MSG_PEEK)):
                        self._adopt(await accept_lane(guest, self._context))
                        return
                await self._lead_to_service(guest)
            except (OSError, TimeoutError, ProtocolError) as error:
                logger.debug("connection closed: %s", error)

    async def _lead_to_service(self, guest: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if guest.family != socket.AF_UNIX:
            guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.socket(socket.AF_UNIX) as service:
            service.setblocking(False)
            await loop.sock_connect(service, self._service_path)
            traffic = traffic_of(guest)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(_copy(guest, service, traffic.count_received))
                directions.create_task(_copy(service, guest, traffic.count_sent))


async def _copy(source: socket.socket, target: socket.socket, count: Callable[[int], None]) -> None:
    """Copy one direction until it ends, and count the bytes; what breaks it ends both."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, _COPY_BYTES):
            count(len(data))
            await loop.sock_sendall(target, data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def listen_on(address: str) -> socket.socket:
    """A listening socket at HOST:PORT or at a unix socket's path. Raises OSError."""
    if "/" in address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(128)
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, int(port)), family=family, backlog=128)
    listener.setblocking(False)
    return listener
