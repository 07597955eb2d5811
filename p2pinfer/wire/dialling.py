"""How a server is reached: where its own record says, and through the tunnel where that leads nowhere."""

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
"""Opens a way through the swarm to a peer's service and yields the path of a local unix socket."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server's port is: from its signed record, never from hearsay."""

    peer_id: PeerId
    endpoints: tuple[str, ...]
    certificate: bytes


async def first_way(
    address: Address,
    tunnel: Tunnel | None,
    seconds: float,
    attempt: Callable[[str], Awaitable[T | None]],
    resources: AsyncExitStack,
) -> T:
    """What the first successful `attempt` at HOST:PORT, or at last unix:PATH, gave; None is a failed one.

    A tunnel has so many seconds to open, and is kept open by `resources`. Raises HopFailedError if no way
    leads there.
    """
    for endpoint in address.endpoints:
        if (found := await attempt(endpoint)) is not None:
            return found
    if tunnel is not None:
        with suppress(OSError, TimeoutError, P2PInferError):
            way = resources.enter_async_context(tunnel(address.peer_id))
            path = await asyncio.wait_for(way, seconds)
            if (found := await attempt(f"unix:{path}")) is not None:
                return found
    ways = [*address.endpoints, *(["tunnel"] if tunnel else [])]
    raise HopFailedError(address.peer_id, f"unreachable ({', '.join(ways) or 'no endpoint'})")
