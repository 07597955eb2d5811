"""A member's presence in the swarm from one start of p2pd to its end: the process, and the DHT node on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Set
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Protocol, TypeVar

from hivemind.p2p import PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import ControlFailure

from p2pinfer.errors import SwarmError
from p2pinfer.identity import peer_id_to_bytes
from p2pinfer.plain_text import foreign
from p2pinfer.swarm.addresses import tcp_endpoint
from p2pinfer.swarm.kademlia.hardening import TaskOwner
from p2pinfer.swarm.kademlia.node import RequestTimes, SwarmNode
from p2pinfer.swarm.membership.daemon import Daemon, Stream
from p2pinfer.swarm.membership.senders import Senders
from p2pinfer.tasks import Nursery, unless
from p2pinfer.types import PeerId

StreamHandler = Callable[[PeerId, Stream], Awaitable[None]]

_PROBE_SECONDS = 3.0
_CONNECT_SECONDS = 5.0
_LEAVE_SECONDS = 3.0
_END_SECONDS = 1.0

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Anchors(Protocol):
    """Chooses, of the peers that are known, those that are always asked. See `Acquaintances.anchors`."""

    def __call__(self, known: Set[PeerId], /, *, shared: bool) -> Collection[PeerId]: ...


class Presence:
    """A running p2pd and a DHT node on it. Made inside a task whose `current_owner` is `owner`."""

    def __init__(self, daemon: Daemon, node: SwarmNode, owner: TaskOwner) -> None:
        self.daemon = daemon
        self.node = node
        self._owner = owner
        self._context: Context = copy_context()
        self._taken: set[str] = set()  # protocols whose streams p2pd brings to us
        self._changes_taken = asyncio.Lock()

    @classmethod
    async def begin(
        cls,
        daemon: Daemon,
        *,
        proof: bytes,
        client_only: bool,
        before: Presence | None,
        owner: TaskOwner,
        times: RequestTimes,
        anchors: Anchors,
    ) -> Presence:
        """Open the node, and take over the records that the presence `before` kept for others.

        Raises SwarmError if p2pd ends meanwhile.
        """
        predecessor = before.node.protocol if before is not None else None
        opening = SwarmNode.open(
            daemon.p2p, proof=proof, client_only=client_only, predecessor=predecessor, times=times
        )
        # hivemind would wait forever for the answers of a p2pd that has ended.
        node = await unless(daemon.process.wait(), opening, SwarmError("p2pd ended at its start"))
        presence = cls(daemon, node, owner)
        node.protocol.source_of = Senders(daemon.connections).source_of
        node.anchors = lambda shared: [
            PeerID(peer_id_to_bytes(peer)) for peer in anchors(presence.known(), shared=shared)
        ]
        return presence

    def known(self) -> Set[PeerId]:
        """The other nodes in the routing table: they answered when they were last asked."""
        return {PeerId(peer.to_base58()) for peer in self.node.protocol.routing_table.peer_id_to_uid}

    @property
    def alone(self) -> bool:
        """True if no other node is known."""
        return not self.node.protocol.routing_table.uid_to_peer_id

    @property
    def cut_off(self) -> bool:
        """True if this is a client, which keeps no records itself, and knows no node that does."""
        return self.alone and bool(self.node.protocol.client_mode)

    async def connected(self) -> dict[PeerId, list[str]]:
        """The connected peers and their addresses. Raises SwarmError if p2pd doesn't answer."""
        addresses: dict[PeerId, list[str]] = {}
        for peer_id, address in await self.daemon.connections():
            addresses.setdefault(peer_id, []).append(address)
        return addresses

    async def greet(self, peers: Mapping[PeerId, Collection[str]], connected: Set[PeerId]) -> list[float]:
        """Connect to `peers` and ping them, side by side.

        Returns the clock differences, in seconds, of the first peer that answers and of those soon after it.
        """

        async def connect(peer: PeerID) -> bool:
            peer_id = PeerId(peer.to_base58())
            if peer_id in connected:
                return True
            addresses = peers[peer_id]
            if not await takes_connections(addresses):
                return False
            try:
                transports = [address.removesuffix(f"/p2p/{peer}") for address in addresses]
                await self.daemon.connect(peer_id, transports, _CONNECT_SECONDS)
            except SwarmError as error:
                _logger.debug("still out of reach: %s", error)
                return False
            return True

        was_alone = self.alone
        answers = await self.node.meet([PeerID(peer_id_to_bytes(peer)) for peer in peers], connect)
        if answers and was_alone:
            await self.node.find_nearest_nodes([self.node.node_id])
        return answers

    async def take_streams(self, handlers: Mapping[str, StreamHandler]) -> None:
        """Take the streams that peers open for exactly these protocols, however they change meanwhile.

        Each stream goes to the handler that its protocol has then. Raises SwarmError if p2pd refuses.
        """
        async with self._changes_taken:
            while self._taken != handlers.keys():
                for protocol in self._taken - handlers.keys():
                    self._taken.discard(protocol)
                    await self.daemon.p2p.remove_binary_stream_handler(protocol)
                for protocol in handlers.keys() - self._taken:
                    await self._take(protocol, handlers)
                    self._taken.add(protocol)

    async def _take(self, protocol: str, handlers: Mapping[str, StreamHandler]) -> None:
        async def on_stream(info: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if (handler := handlers.get(protocol)) is None:
                writer.transport.abort()
            else:
                await handler(PeerId(info.peer_id.to_base58()), (reader, writer))

        try:
            await self.daemon.p2p.add_binary_stream_handler(protocol, on_stream)
        except ControlFailure as error:
            if "already set" not in str(error):  # else it was to be removed, and p2pd hasn't heard of that
                raise SwarmError(f"p2pd takes no streams for {protocol}: {foreign(str(error))}") from error

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work` in the context where hivemind's tasks find their owner.

        Raises SwarmError if p2pd ends meanwhile, or breaks off an answer.
        """
        if not self.daemon.running:
            work.close()
            raise lost()
        task = asyncio.get_running_loop().create_task(work, context=self._context)
        self._owner.adopt(task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if task.cancelled():  # by its owner, because this presence has ended
            raise lost()
        try:
            return task.result()
        except (OSError, EOFError) as error:
            # p2pd's sockets fail before its process is seen to have ended.
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self.daemon.process.wait()
            raise (SwarmError(f"p2pd broke off: {error!r}") if self.daemon.running else lost()) from error

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Open a libp2p stream to a peer; who gives up leaves none open. Raises SwarmError."""
        opened: list[Stream] = []

        async def open_one() -> None:
            opened.append(await self.daemon.open_stream(peer_id, protocol))

        try:
            await self.run(open_one())
        except BaseException:
            for _, writer in opened:
                writer.transport.abort()
            raise
        return opened[0]

    async def say_goodbye(self) -> None:
        """Remove the request handlers, so that peers get an error at once instead of no answer."""
        if not self.daemon.running:
            return
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self.node.shutdown()
        except Exception as error:  # noqa: BLE001 - p2pd may have ended already; we leave anyway
            _logger.debug("left without removing the handlers: %r", error)


def lost() -> SwarmError:
    """The error that is raised while there is no presence."""
    return SwarmError("the connection to the swarm is being restored (p2pd has ended): try again in a moment")


async def takes_connections(addresses: Collection[str]) -> bool:
    """True if a TCP connection to one of `addresses` can be made, or if none of them can be tried that way.

    After every failed dial libp2p waits longer before it dials that address again: 5 s plus the square of the
    number of failures (measured: 5, 6, 9, 14 s), up to 5 minutes. A peer that comes back after an hour would
    stay unreachable that long. So p2pd is asked to dial only where a port is open.
    """
    endpoints = [endpoint for address in addresses if (endpoint := tcp_endpoint(address)) is not None]
    if not endpoints:
        return True
    async with Nursery() as nursery:
        probes = [nursery.start(accepts(host, port)) for host, port in endpoints]
        for probe in asyncio.as_completed(probes):
            if await probe:
                return True
        return False


async def accepts(host: str, port: int, seconds: float = _PROBE_SECONDS) -> bool:
    """True if a TCP connection can be made within `seconds`. Not a byte is sent."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return False
    writer.transport.abort()
    return True
