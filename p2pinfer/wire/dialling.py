"""How a server is reached: at the endpoints in its own record, and through a tunnel if they all fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Protocol, TypeVar

from p2pinfer.errors import HopFailedError, P2PInferError
from p2pinfer.types import Address, PeerId, Way

T = TypeVar("T")


class Ways(Protocol):
    """The ways to peers beside plain dialling, and which addresses may be dialled at all."""

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        """True if this host, a name or an address without brackets, is the peer's to give."""

    def tunnel(self, address: Address) -> AbstractAsyncContextManager[str]:
        """Yield the path of a local Unix socket that leads to the peer's service through the swarm."""

    def way_of_tunnel(self, peer_id: PeerId) -> Way | None:
        """How what a tunnel carries reaches this peer now; None: no tunnel is open. Any thread may ask."""


def way_taken(ways: Ways | None, peer_id: PeerId, *, is_tunnelled: bool) -> Way:
    """How a connection reaches this peer now. A tunnel can change its way while it is open."""
    if not is_tunnelled or ways is None:
        return Way.DIRECT
    return ways.way_of_tunnel(peer_id) or Way.TUNNEL


async def first_connection(
    address: Address,
    ways: Ways | None,
    seconds: float,
    attempt: Callable[[str], Awaitable[T | None]],
    resources: AsyncExitStack,
) -> T:
    """Try the server's endpoints in order, then the tunnel; return the first connection that stands.

    `attempt` gets HOST:PORT, or unix:PATH for the tunnel, and returns a connection, or None if it failed. The
    tunnel has `seconds` to open, and `resources` keep it open. Raises HopFailedError if every attempt fails.
    """
    for endpoint in address.endpoints:
        if (found := await attempt(endpoint)) is not None:
            return found
    if ways is not None:
        with suppress(OSError, TimeoutError, P2PInferError):
            opening = resources.enter_async_context(ways.tunnel(address))
            path = await asyncio.wait_for(opening, seconds)
            if (found := await attempt(f"unix:{path}")) is not None:
                return found
    tried = [*address.endpoints, *(["tunnel"] if ways else [])]
    raise HopFailedError(address.peer_id, f"unreachable ({', '.join(tried) or 'no endpoint'})")
