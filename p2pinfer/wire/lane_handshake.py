"""How a lane begins, on both sides: the connection, the preamble and the TLS handshake."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

from p2pinfer.errors import HopFailedError, InvalidCertificateError, ProtocolError
from p2pinfer.types import Address
from p2pinfer.wire.certificates import SERVER_NAME, pinned_context
from p2pinfer.wire.dialling import Ways, first_connection
from p2pinfer.wire.lanes import Lane, ready

PREAMBLE = b"p2pinfer lane 4\n"


def is_lane(first_byte: bytes) -> bool:
    """True if a connection that begins with this byte is a lane, False if it is gRPC's TLS."""
    return first_byte == PREAMBLE[:1]


@asynccontextmanager
async def lane_to(address: Address, ways: Ways | None, seconds: float) -> AsyncIterator[Lane]:
    """Yield a lane to a server, dialled directly where possible, through the tunnel otherwise.

    The server's certificate has been checked. The caller sends the hello and closes the lane; the block keeps
    the tunnel open. Each attempt has `seconds`. Raises HopFailedError if all of them fail.
    """
    try:
        context = pinned_context(address.certificate)
    except InvalidCertificateError as error:
        raise HopFailedError(address.peer_id, f"its record has no valid certificate: {error}") from error
    async with AsyncExitStack() as resources:
        yield await first_connection(address, ways, seconds, partial(_attempt, context, seconds), resources)


async def _attempt(context: ssl.SSLContext, seconds: float, target: str) -> Lane | None:
    """Connect to HOST:PORT or unix:PATH."""
    with suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(seconds):
            sock = await _connect(target)
            try:
                await asyncio.get_running_loop().sock_sendall(sock, PREAMBLE)
                return await _shake_hands(sock, context, server_side=False)
            except BaseException:
                sock.close()
                raise
    return None


async def _connect(target: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    address: Any
    if target.startswith("unix:"):
        family, address = socket.AF_UNIX, target.removeprefix("unix:")
    else:
        host, _, port = target.rpartition(":")
        found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, *_, address = found[0]
    sock = socket.socket(family)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def accept_lane(sock: socket.socket, context: ssl.SSLContext) -> Lane:
    """Accept a connection whose first byte says that it is a lane. Raises OSError, ProtocolError."""
    loop = asyncio.get_running_loop()
    preamble = b""
    while len(preamble) < len(PREAMBLE):
        data = await loop.sock_recv(sock, len(PREAMBLE) - len(preamble))
        if not data:
            raise ProtocolError("the connection ended within the preamble of a lane")
        preamble += data
    if preamble != PREAMBLE:
        raise ProtocolError("the preamble is that of another protocol or version")
    return await _shake_hands(sock, context, server_side=True)


async def _shake_hands(sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> Lane:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_socket(
        sock,
        server_side=server_side,
        server_hostname=None if server_side else SERVER_NAME,
        do_handshake_on_connect=False,
    )
    try:
        while True:
            try:
                tls.do_handshake()
                return Lane(tls)
            except ssl.SSLWantReadError:
                await ready(tls, "read")
            except ssl.SSLWantWriteError:
                await ready(tls, "write")
    except BaseException:
        tls.close()
        raise
