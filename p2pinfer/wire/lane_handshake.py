"""How a lane begins, on both sides: the connection and the TLS handshake.

Lanes and gRPC share a port. Both begin with a ClientHello, whose ALPN tells them apart: `LANE_PROTOCOL` names
the version of lanes and steps, gRPC asks for `h2`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

from p2pinfer.errors import HopFailedError, InvalidCertificateError, ProtocolError
from p2pinfer.outside.certificate import SERVER_NAME
from p2pinfer.types import Address
from p2pinfer.wire.certificates import LANE_PROTOCOL, pinned_context
from p2pinfer.wire.dialling import Ways, first_connection
from p2pinfer.wire.lanes import Lane, ready
from p2pinfer.wire.reach.endpoints import Endpoint


@asynccontextmanager
async def lane_to(
    address: Address, ways: Ways | None, seconds: float, *, hides_failures: bool = False
) -> AsyncIterator[Lane]:
    """Yield a lane to a server, dialled directly where possible, through the tunnel otherwise.

    The server's certificate has been checked. The caller sends the hello and closes the lane; the block keeps
    the tunnel open. All ways together have `seconds`; `hides_failures` is that of `first_connection`. Raises
    HopFailedError if no lane stands by then.
    """
    try:
        context = pinned_context(address.certificate)
    except InvalidCertificateError as error:
        raise HopFailedError(address.peer_id, f"its record has no valid certificate: {error}") from error
    async with AsyncExitStack() as resources:
        reached = await first_connection(
            address, ways, seconds, partial(_attempt, context), _discard, resources,
            hides_failures=hides_failures,
        )  # fmt: skip
        yield reached.connection


async def _attempt(context: ssl.SSLContext, target: str) -> Lane | None:
    """Connect to an endpoint or a unix socket, as `first_connection` names them."""
    with suppress(OSError, ValueError, ProtocolError):
        sock = await _connect(target)
        try:
            return await _shake_hands(sock, context, server_side=False)
        except BaseException:
            sock.close()
            raise
    return None


async def _discard(lane: Lane) -> None:
    lane.close()


async def _connect(target: str) -> socket.socket:
    address: Any
    if target.startswith("unix:"):
        family, address = socket.AF_UNIX, target.removeprefix("unix:")
    else:
        endpoint = Endpoint.from_target(target)
        family = socket.AF_INET if endpoint.ip.version == 4 else socket.AF_INET6
        address = (str(endpoint.ip), endpoint.port)
    sock = socket.socket(family)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def accept_lane(sock: socket.socket, context: ssl.SSLContext) -> Lane:
    """Accept a connection whose ClientHello asks for a lane. Raises OSError, ProtocolError."""
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
                if tls.selected_alpn_protocol() != LANE_PROTOCOL:
                    raise ProtocolError("the other side speaks another protocol or version than ours")
                return Lane(tls)
            except ssl.SSLWantReadError:
                await ready(tls, "read")
            except ssl.SSLWantWriteError:
                await ready(tls, "write")
    except BaseException:
        tls.close()
        raise
