"""gRPC channels to servers: one per peer, dialled directly where possible, through a tunnel otherwise.

A channel costs its server a connection, so those that nobody uses are closed: all but a few after seconds,
the rest after a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import grpc
from google.protobuf.message import DecodeError

from p2pinfer.errors import HopFailedError, InvalidCertificateError
from p2pinfer.outside.certificate import SERVER_NAME
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.types import Address, PeerId, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.certificates import pinned
from p2pinfer.wire.dialling import CONNECT_SECONDS, Reached, Ways, first_connection
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.traffic import DIRECT, TUNNELLED, Traffic

_Answer = TypeVar("_Answer")

MAX_MESSAGE_BYTES = 64 * 1024
"""The largest gRPC message: an opening with a record of 4 KB inside is the longest. Activations use lanes."""

MOST_IDLE = 32
"""So many unused channels are kept, the latest used ones. The servers of a next route are among them."""
IDLE_SECONDS = 60.0
"""These are kept for so long."""
SPARE_SECONDS = 5.0
"""And the others: a server that was pinged may get a session at once."""

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.ssl_target_name_override", SERVER_NAME),
    # A hop that vanished silently is noticed after 10 + 10 s even if no step is under way.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Two pools in one process must not share connections: each has to end with its own pool.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

MAX_STREAMS = 256
"""Calls of one connection at a time: the sessions that a client may have at a server, and as many others."""

SERVER_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # What may wait here of a call that nobody reads yet, whatever the way could carry: requests are short.
    ("grpc.http2.lookahead_bytes", 16 * 1024),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.so_reuseport", 0),
)


@dataclass(slots=True)
class _Connection:
    address: Address
    reached: Reached[grpc.aio.Channel]
    resources: AsyncExitStack
    users: int = 0
    idle_since: float = 0.0  # on the event loop's clock, while there are no users

    @property
    def channel(self) -> grpc.aio.Channel:
        return self.reached.connection

    @property
    def is_broken(self) -> bool:
        return bool(self.channel.get_state() == grpc.ChannelConnectivity.TRANSIENT_FAILURE)

    def leads_to(self, address: Address) -> bool:
        """True if this is still the way to the peer: its relays concern a tunnel only."""
        ours = self.address
        if self.reached.is_tunnelled:
            return ours == address
        return (ours.endpoints, ours.certificate) == (address.endpoints, address.certificate)


@dataclass(slots=True)
class ChannelPool:
    """One channel per peer, which all users share. It is closed with the pool, unused, or after it failed."""

    ways: Ways | None = None
    connect_seconds: float = CONNECT_SECONDS
    most_idle: int = MOST_IDLE
    idle_seconds: float = IDLE_SECONDS
    spare_seconds: float = SPARE_SECONDS
    _connections: dict[PeerId, _Connection] = field(default_factory=dict)
    _locks: WeakValueDictionary[PeerId, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _closing_idle: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def connected(self, address: Address) -> AsyncIterator[grpc.aio.Channel]:
        """Yield a channel to the peer that is ready, or was a moment ago.

        The channel stays open for the next user, for a while. Raises HopFailedError if no endpoint answers
        with the pinned certificate and the tunnel doesn't lead there.
        """
        connection = await self._acquire(address)
        try:
            yield connection.channel
        finally:
            connection.users -= 1
            if connection.users == 0:
                await self._let_go(connection)

    def traffic_with(self, peer_id: PeerId) -> Traffic:
        """The counter for what is exchanged with a connected peer. gRPC itself counts nothing."""
        connection = self._connections.get(peer_id)
        return TUNNELLED if connection is not None and connection.reached.is_tunnelled else DIRECT

    def way_to(self, peer_id: PeerId) -> Way | None:
        """How a connected peer is reached now; None if it isn't connected. Any thread may ask."""
        connection = self._connections.get(peer_id)
        return None if connection is None else connection.reached.way(peer_id, self.ways)

    async def forget(self, peer_id: PeerId) -> None:
        """Stop using this peer's channel, because it failed. It is closed when its last user is done."""
        connection = self._connections.pop(peer_id, None)
        if connection is not None and connection.users == 0:
            await connection.resources.aclose()

    async def close(self) -> None:
        """Close all channels, including those in use."""
        connections, self._connections = list(self._connections.values()), {}
        await cancel_and_wait(self._closing_idle)
        for connection in connections:
            await connection.resources.aclose()

    async def _acquire(self, address: Address) -> _Connection:
        lock = self._locks.setdefault(address.peer_id, asyncio.Lock())  # gone with its last user
        async with lock:
            connection = self._connections.get(address.peer_id)
            if connection is not None and (connection.is_broken or not connection.leads_to(address)):
                await self.forget(address.peer_id)
                connection = None
            if connection is None:
                connection = await self._connect(address)
                self._connections[address.peer_id] = connection
            connection.users += 1
            return connection

    async def _let_go(self, connection: _Connection) -> None:
        """Keep a channel that has no user any more for the next one, unless it was replaced."""
        if self._connections.get(connection.address.peer_id) is not connection:
            await connection.resources.aclose()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        if self._closing_idle is None or self._closing_idle.done():
            self._closing_idle = asyncio.create_task(self._close_idle())

    async def _close_idle(self) -> None:
        """Close unused channels in time, until there are none."""
        now = asyncio.get_running_loop().time
        while idle := [one for one in self._connections.values() if one.users == 0]:
            idle.sort(key=lambda one: one.idle_since, reverse=True)
            for place, one in enumerate(idle):
                patience = self.idle_seconds if place < self.most_idle else self.spare_seconds
                is_unused = one.users == 0 and self._connections.get(one.address.peer_id) is one
                if is_unused and now() - one.idle_since >= patience:
                    await self.forget(one.address.peer_id)
            await asyncio.sleep(self.spare_seconds)

    async def _connect(self, address: Address) -> _Connection:
        try:
            credentials = pinned(address.certificate)
        except InvalidCertificateError as error:
            raise HopFailedError(address.peer_id, f"its record has no valid certificate: {error}") from error
        resources = AsyncExitStack()
        try:
            reached = await first_connection(
                address, self.ways, self.connect_seconds, partial(_attempt, credentials), _discard, resources
            )
        except BaseException:
            await resources.aclose()
            raise
        resources.push_async_callback(reached.connection.close)
        return _Connection(address, reached, resources)


async def _attempt(credentials: grpc.ChannelCredentials, target: str) -> grpc.aio.Channel | None:
    channel = grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
    connected = False
    try:
        connected = await _ready(channel)
    finally:
        if not connected:
            await channel.close()
    return channel if connected else None


async def _discard(channel: grpc.aio.Channel) -> None:
    await channel.close()


async def _ready(channel: grpc.aio.Channel) -> bool:
    """Wait for the first attempt to connect. False as soon as it has failed: gRPC itself would retry."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            return False
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
    return True


def inference_stub(channel: grpc.aio.Channel) -> Any:
    """The calls of a server that may be anybody's: an answer that can't be parsed is None, see `parsed`."""
    return InferenceStub(_Quiet(channel))


def parsed(peer_id: PeerId, answer: _Answer | None) -> _Answer:
    """Return an answer of `inference_stub`. Raises HopFailedError for one that can't be parsed."""
    if answer is None:
        raise HopFailedError(peer_id, "its answer can't be parsed")
    return answer


def answer_of(peer_id: PeerId, reply: pb.PingReply | None) -> pb.PingReply:
    """Return a server's answer to a ping. Raises HopFailedError if it is nonsense, or another server's.

    Anybody can announce the endpoints and the certificate of another server.
    """
    reply = parsed(peer_id, reply)
    if reply.server != peer_id:
        raise HopFailedError(peer_id, "another server answers at its address")
    return reply


class _Quiet:
    """A channel for which answers that can't be parsed are None.

    gRPC does the same, and logs a traceback for each: strangers could fill the log with them.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, method: str, *, response_deserializer: Any, **options: Any) -> Any:
        parse = partial(_or_none, response_deserializer)
        return self._channel.unary_unary(method, response_deserializer=parse, **options)

    def unary_stream(self, method: str, *, response_deserializer: Any, **options: Any) -> Any:
        parse = partial(_or_none, response_deserializer)
        return self._channel.unary_stream(method, response_deserializer=parse, **options)


def _or_none(parse: Callable[[bytes], _Answer], data: bytes) -> _Answer | None:
    try:
        return parse(data)
    except DecodeError:
        return None
