"""How a server is reached: at the endpoints in its own record, and through a tunnel if they all fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TypeVar

from p2pinfer.errors import HopFailedError, P2PInferError
from p2pinfer.types import PeerId

T = TypeVar("T")

Tunnel = Callable[[PeerId], AbstractAsyncContextManager[str]]
"""Opens a connection through the swarm to a peer's service, and yields the path of a local Unix socket."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and with which certificate. Only the server's signed record is the source."""

    peer_id: PeerId
    endpoints: tuple[str, ...]  # HOST:PORT; empty: only the tunnel leads to it
    certificate: bytes  # DER


async def first_connection(
    address: Address,
    tunnel: Tunnel | None,
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
    if tunnel is not None:
        with suppress(OSError, TimeoutError, P2PInferError):
            opening = resources.enter_async_context(tunnel(address.peer_id))
            path = await asyncio.wait_for(opening, seconds)
            if (found := await attempt(f"unix:{path}")) is not None:
                return found
    tried = [*address.endpoints, *(["tunnel"] if tunnel else [])]
    raise HopFailedError(address.peer_id, f"unreachable ({', '.join(tried) or 'no endpoint'})")
