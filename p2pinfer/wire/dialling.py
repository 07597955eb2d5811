"""How a server is reached: at the endpoints in its own record, or through a tunnel, whichever stands first.

All that dial a peer pass here. An address is judged after its name was resolved, and what was judged is what
is dialled: a name that resolves to something else the second time leads nowhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from p2pinfer.errors import HopFailedError, P2PInferError
from p2pinfer.types import Address, PeerId, Way
from p2pinfer.wire.reach.endpoints import Endpoint, ip_of, split_endpoint
from p2pinfer.wire.reach.race import Race
from p2pinfer.wire.reach.resolving import resolved
from p2pinfer.wire.reach.winners import TUNNEL, Candidate, Winners

T = TypeVar("T")

CONNECT_SECONDS = 4.0
"""For all ways to a peer together, names and handshakes included."""

MOST_NAMES = 2
"""So many names of one peer are resolved: the resolver is shared by all."""

WINNERS = Winners()
"""What one dialling learns, all of this process use: channels and lanes, of every pool."""


class Ways(Protocol):
    """The ways to peers beside plain dialling, and which addresses may be dialled at all."""

    def may_dial(self, peer_id: PeerId, host: str) -> bool:
        """True if this host, an IP address without brackets, is the peer's to give."""

    def tunnel(self, address: Address) -> AbstractAsyncContextManager[str]:
        """Yield the path of a local Unix socket that leads to the peer's service through the swarm.

        One task enters the block, and another may leave it.
        """

    def way_of_tunnel(self, peer_id: PeerId) -> Way | None:
        """How what a tunnel carries reaches this peer now; None: no tunnel is open. Any thread may ask."""


def way_taken(ways: Ways | None, peer_id: PeerId, *, is_tunnelled: bool) -> Way:
    """How a connection reaches this peer now. A tunnel can change its way while it is open."""
    if not is_tunnelled or ways is None:
        return Way.DIRECT
    return ways.way_of_tunnel(peer_id) or Way.TUNNEL


@dataclass(frozen=True, slots=True)
class Reached(Generic[T]):
    """A connection that stands, and how it came about."""

    connection: T
    is_tunnelled: bool

    def way(self, peer_id: PeerId, ways: Ways | None) -> Way:
        """How the peer is reached now: what a tunnel carries may go another way than a moment ago."""
        return way_taken(ways, peer_id, is_tunnelled=self.is_tunnelled)


async def first_connection(
    address: Address,
    ways: Ways | None,
    seconds: float,
    attempt: Callable[[str], Awaitable[T | None]],
    discard: Callable[[T], Awaitable[None]],
    resources: AsyncExitStack,
    *,
    hides_failures: bool = False,
) -> Reached[T]:
    """Try the server's endpoints and the tunnel side by side; return the first connection that stands.

    `attempt` gets a target as gRPC writes it (ipv4:HOST:PORT, ipv6:[HOST]:PORT, unix:PATH) and returns a
    connection, or None if it failed; it is cancelled when another way has won or `seconds` are over.
    `discard` closes a connection that isn't needed; `resources` keep the tunnel open. With `hides_failures`
    the time at which one way is tried doesn't tell how another one failed.

    Raises HopFailedError if all ways fail, or none stands in time.
    """
    dialling = _Dialling(address, ways, attempt, discard)
    favourite = WINNERS.of(address.peer_id, time.monotonic())
    race = Race(dialling.attempt, dialling.discard, favourite=favourite, hides_failures=hides_failures)
    literal, names = dialling.endpoints()
    found = None
    try:
        async with asyncio.timeout(seconds):
            lookups = [dialling.look_up(*name) for name in names]
            found = await race.run(literal, lookups, has_tunnel=ways is not None)
    except TimeoutError:
        pass
    if favourite is not None and (found is None or favourite in race.failed):
        WINNERS.failed(address.peer_id, favourite)
    if found is None:
        raise HopFailedError(address.peer_id, dialling.why_unreachable())
    winner, stands = found
    WINNERS.won(address.peer_id, winner, time.monotonic())
    resources.push_async_callback(stands.tunnel.aclose)
    return Reached(stands.connection, winner == TUNNEL)


@dataclass(frozen=True, slots=True)
class _Stands(Generic[T]):
    connection: T
    tunnel: AsyncExitStack  # empty for an endpoint


class _Dialling(Generic[T]):
    """One call's candidates, and how each is tried."""

    def __init__(
        self,
        address: Address,
        ways: Ways | None,
        attempt: Callable[[str], Awaitable[T | None]],
        discard: Callable[[T], Awaitable[None]],
    ) -> None:
        self._address = address
        self._ways = ways
        self._attempt = attempt
        self._discard = discard
        self._forbidden: list[str] = []

    def endpoints(self) -> tuple[list[Endpoint], list[tuple[str, int]]]:
        """The endpoints that may be dialled, and the names that have to be resolved first."""
        literal, names = [], []
        for endpoint in self._address.endpoints:
            try:
                host, port = split_endpoint(endpoint)
            except ValueError:
                continue
            if (ip := ip_of(host)) is None:
                names.append((host, port))
            elif self._may_dial(found := Endpoint(ip, port)):
                literal.append(found)
        return literal, names[:MOST_NAMES]

    async def look_up(self, host: str, port: int) -> list[Endpoint]:
        """What a name stands for, as far as it may be dialled."""
        return [endpoint for endpoint in await resolved(host, port) if self._may_dial(endpoint)]

    async def attempt(self, candidate: Candidate) -> _Stands[T] | None:
        """Try one way."""
        if isinstance(candidate, Endpoint):
            found = await self._attempt(candidate.target)
            return None if found is None else _Stands(found, AsyncExitStack())
        assert self._ways is not None
        tunnel, found = AsyncExitStack(), None
        try:
            path = await tunnel.enter_async_context(self._ways.tunnel(self._address))
            found = await self._attempt(f"unix:{path}")
        except (OSError, P2PInferError):
            pass
        finally:
            if found is None:
                await tunnel.aclose()
        return None if found is None else _Stands(found, tunnel)

    async def discard(self, late: _Stands[T]) -> None:
        """Close a connection that isn't needed, and the tunnel that led to it."""
        try:
            await self._discard(late.connection)
        finally:
            await late.tunnel.aclose()

    def why_unreachable(self) -> str:
        """What was tried, for people."""
        tried = [one for one in self._address.endpoints if one not in self._forbidden]
        tried += ["tunnel"] if self._ways is not None else []
        words = f"unreachable ({', '.join(tried) or 'no endpoint'})"
        if self._forbidden:
            words += f"; not dialled from this network: {', '.join(self._forbidden)}"
        return words

    def _may_dial(self, endpoint: Endpoint) -> bool:
        allowed = self._ways is None or self._ways.may_dial(self._address.peer_id, str(endpoint.ip))
        if not allowed:
            self._forbidden.append(endpoint.target.partition(":")[2])
        return allowed
