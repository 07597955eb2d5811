"""One port for gRPC and for lanes: what a connection's ClientHello asks for tells which of the two it is.

The bytes of gRPC are copied to and from the unix socket where gRPC listens; TLS ends there. Lanes are
accepted here and handed to the code that runs sessions. Who asks for neither gets TLS's own answer to that,
and who doesn't begin with a ClientHello gets none.

Each connection has a unix socket of its own to gRPC, and the socket has a name, by which gRPC tells on which
connection a call is open (`open_calls.py`). Who makes room for a newcomer is decided in `guests.py`. A
connection on which no call was made, or no lane was opened, is closed after ten seconds: shaking hands takes
no longer, one byte or all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from p2pinfer.backoff import Backoff
from p2pinfer.errors import ProtocolError
from p2pinfer.fairness.sources import Source, source_of
from p2pinfer.server.door.accepting import AcceptFailures, is_shortage
from p2pinfer.server.door.guests import MAX_CONNECTIONS, SETTLING_SECONDS, Guests
from p2pinfer.swarm.membership.socket_folder import named
from p2pinfer.tasks import Nursery, all_of, cancel_and_wait
from p2pinfer.wire.certificates import LANE_PROTOCOL
from p2pinfer.wire.lane_handshake import accept_lane
from p2pinfer.wire.lanes import Lane, ready
from p2pinfer.wire.reach.client_hello import (
    MAX_CLIENT_HELLO_BYTES,
    NO_APPLICATION_PROTOCOL,
    read_client_hello,
)
from p2pinfer.wire.traffic import traffic_of

logger = logging.getLogger(__name__)

FIRST_CALL_SECONDS = 10.0
"""From the connection to the first call, or to the end of a lane's handshake."""
_MOST_THAT_GO = 2
"""For one newcomer: so a source that has more than its share has less with each."""
_LOOK_AGAIN = Backoff(first_seconds=0.001, most_seconds=1.0)
"""While a ClientHello has arrived in part. Its segments usually come together."""
_GRPC_PROTOCOL = b"h2"
_COPY_BYTES = 64 * 1024


FindSources = Callable[[str], tuple[Source, ...]]
"""Where the peer comes from whose tunnel leads to a unix socket of this name; () if there is no such one."""


class FrontDoor:
    """Sorts the connections of some listening sockets."""

    def __init__(
        self,
        service_path: str,
        context: ssl.SSLContext,
        adopt: Callable[[Lane], None],
        guests: Guests,
        most: int = MAX_CONNECTIONS,
        *,
        find_sources: FindSources = lambda name: (),
    ) -> None:
        """`service_path` is gRPC's unix socket, `context` the TLS of lanes; `adopt` takes a new lane.

        `guests` hears from gRPC which connections are in use, and decides who may come. There are `most`
        connections at a time; lanes that were adopted don't count. `find_sources` says who stands behind a
        unix socket of a tunnel.
        """
        self._service_path = service_path
        self._context = context
        self._adopt = adopt
        self._guests = guests
        guests.set_places(most)
        guests.hang_up = self._hang_up
        self._find_sources = find_sources
        self._receiving = Nursery()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def open(self, listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
        """Accept connections until the block ends; then close the sockets and the connections of gRPC.

        A connection that fails unexpectedly ends alone, and its traceback is logged. If accepting itself
        fails unexpectedly, the block ends with that error.
        """
        with contextlib.ExitStack() as sockets:
            for listener in listeners:
                sockets.enter_context(contextlib.closing(listener))
            try:
                async with Nursery() as accepting:
                    for listener in listeners:
                        accepting.start(self._accept_forever(listener))
                    yield
            finally:
                await self._receiving.close()

    async def _accept_forever(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        failures = AcceptFailures()
        while True:
            try:
                guest, address = await loop.sock_accept(listener)
            except OSError as error:
                if failures.is_news(loop.time()):
                    logger.warning("a connection can't be accepted, more may follow: %s", error)
                if is_shortage(error) and (name := self._guests.first_to_go()) is not None:
                    await self._send_away(name)
                await asyncio.sleep(failures.wait_seconds(error))
                continue
            failures.accepted()
            with contextlib.ExitStack() as unless_received:
                unless_received.callback(guest.close)
                sources = self._sources(listener, address)
                if await self._has_room(sources):
                    self._start_receiving(guest, sources)
                    unless_received.pop_all()

    def _sources(self, listener: socket.socket, address: Any) -> tuple[Source, ...]:
        """Where a guest comes from, by the address at which it was accepted."""
        if listener.family == socket.AF_UNIX:
            return self._find_sources(os.path.basename(os.fsdecode(address)))
        return (source_of(address[0]),)

    def _start_receiving(self, guest: socket.socket, sources: tuple[Source, ...]) -> None:
        name = f"{os.path.basename(self._service_path)}-{next(self._numbers)}"
        task = self._receiving.start(self._receive(guest, name, sources))
        loop = asyncio.get_running_loop()
        self._guests.arrived(name, sources, time.monotonic())
        self._tasks[name] = task

        def end_if_too_much() -> None:
            if self._guests.is_too_much(name):
                self._guests.left(name)
                task.cancel()

        def end_unless_used() -> None:
            if not self._guests.has_called(name):
                logger.debug("connection closed: it was not used in time")
                task.cancel()

        looks = (
            loop.call_later(SETTLING_SECONDS, end_if_too_much),
            loop.call_later(FIRST_CALL_SECONDS, end_unless_used),
        )

        def end(_: asyncio.Task[None]) -> None:
            guest.close()  # also where it ended before it began
            for look in looks:
                look.cancel()
            self._guests.left(name)
            self._tasks.pop(name, None)

        task.add_done_callback(end)

    async def _has_room(self, sources: tuple[Source, ...]) -> bool:
        """Close who makes room for a newcomer. False if nobody does."""
        for _ in range(_MOST_THAT_GO):
            names = self._guests.room_for(sources, time.monotonic())
            if not names:
                return names is not None
            await self._send_away(*names)
        return True

    async def _send_away(self, *names: str) -> None:
        for name in names:
            self._guests.left(name)
            logger.debug("a connection without a session is closed, to make room")
        await cancel_and_wait(*map(self._tasks.get, names))

    def _pause_seconds(self, name: str, count: int) -> float:
        return self._guests.received(name, count, time.monotonic())

    def _hang_up(self, name: str) -> None:
        logger.debug("connection closed: too many calls come on it")
        if (task := self._tasks.get(name)) is not None:
            task.cancel()

    async def _receive(self, guest: socket.socket, name: str, sources: tuple[Source, ...]) -> None:
        with contextlib.closing(guest):
            guest.setblocking(False)
            try:
                asked_for = await _asked_for(guest)
                if LANE_PROTOCOL.encode() in asked_for:
                    lane = await accept_lane(guest, self._context)
                    lane.sources = sources
                    self._adopt(lane)
                elif _GRPC_PROTOCOL in asked_for:
                    await self._lead_to_service(guest, name)
                else:
                    guest.send(NO_APPLICATION_PROTOCOL)
            except (OSError, ProtocolError) as error:
                logger.debug("connection closed: %s", error)

    async def _lead_to_service(self, guest: socket.socket, name: str) -> None:
        """Copy both directions until both have ended. Raises OSError if gRPC can't be reached."""
        loop = asyncio.get_running_loop()
        if guest.family != socket.AF_UNIX:
            guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.socket(socket.AF_UNIX) as service:
            service.setblocking(False)
            with named(service, os.path.join(os.path.dirname(self._service_path), name)):
                await loop.sock_connect(service, self._service_path)
            traffic = traffic_of(guest)
            await all_of(
                _copy(guest, service, traffic.count_received, lambda count: self._pause_seconds(name, count)),
                _copy(service, guest, traffic.count_sent),
            )


async def _asked_for(guest: socket.socket) -> tuple[bytes, ...]:
    """The protocols that a connection's ClientHello offers. Nothing is taken out of the socket.

    Raises ProtocolError if the connection begins with something else, or ends before. The caller sets the
    deadline: a guest that sends a part of it and then ends is noticed only so.
    """
    looks, seen = 0, 0
    while True:
        await ready(guest, "read")  # at once, if only what was seen before is there
        data = guest.recv(MAX_CLIENT_HELLO_BYTES, socket.MSG_PEEK)
        if not data:
            raise ProtocolError("the connection ended before it began")
        if len(data) > seen:
            if (hello := read_client_hello(data)) is not None:
                _wake_with(guest, 1)
                return hello.protocols
            seen = len(data)
            _wake_with(guest, seen + 1)
        looks += 1
        await asyncio.sleep(_LOOK_AGAIN.longest_seconds(looks))


def _wake_with(guest: socket.socket, number: int) -> None:
    """Let the system say that a TCP connection can be read when so many bytes are there.

    Else a thousand connections with one byte each would be looked at again and again.
    """
    if guest.family != socket.AF_UNIX:
        guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, number)


async def _copy(
    source: socket.socket,
    target: socket.socket,
    count: Callable[[int], None],
    pause_seconds: Callable[[int], float] = lambda count: 0.0,
) -> None:
    """Copy one direction until it ends or breaks, count the bytes, and pass the end on."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, _COPY_BYTES):
            count(len(data))
            await loop.sock_sendall(target, data)
            if (seconds := pause_seconds(len(data))) > 0:
                await asyncio.sleep(seconds)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def listen_on(address: str) -> socket.socket:
    """A listening socket at HOST:PORT or at a unix socket's path. [::] takes IPv4 as well. Raises OSError."""
    if "/" in address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(128)
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((host, int(port)), family=family, backlog=128, dualstack_ipv6=both)
    listener.setblocking(False)
    return listener
