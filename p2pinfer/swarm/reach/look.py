"""Whether others can dial this member: it asks one that it is connected with to try.

AutoNAT of libp2p does the same, but says nothing before several peers agreed, and nothing to this process.
The one who looks dials only the address from which the asker is connected: nobody makes it knock elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from p2pinfer.errors import ProtocolError, SwarmError
from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.look_pb2 import LookReply, LookRequest
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.framing import ask, close_streams, read_message, until_closed, write_message
from p2pinfer.swarm.records.bounds import check_maddr
from p2pinfer.tasks import all_of
from p2pinfer.types import PeerId, short_id

PROTOCOL = "/p2pinfer/look/1"
MOST_PORTS = 4
DIAL_SECONDS = 1.5
MOST_LOOKS = 16
"""At the same time, of one looker."""
SECONDS_BETWEEN_LOOKS = 2.0
"""For one asker."""
MOST_STREAMS = 64
"""That are being answered, of all askers."""
MOST_STREAMS_PER_ASKER = 2
_REQUEST_SECONDS = 2.0  # from the opening of a stream to its request: whoever opens it sends at once
_MOST_ASKERS = 1024
_MOST_OBSERVED = 8
_MOST_OWN = 4

_Message = TypeVar("_Message", bound=Message)

_logger = logging.getLogger(__name__)


class Streams(Protocol):
    """Opens libp2p streams."""

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Raises SwarmError if the peer can't be reached or doesn't speak `protocol`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a member that looked has seen of us."""

    looker: PeerId
    observed: tuple[str, ...]  # multiaddresses from which we are connected, without a peer id
    asked: frozenset[int]  # our ports that it was asked to dial, and has tried
    reached: frozenset[int]  # those that took its connection
    own: tuple[str, ...]  # its own full multiaddresses


async def look(streams: Streams, looker: PeerId, ports: Iterable[int], seconds: float) -> Sight:
    """Ask a member to dial our TCP `ports`, four at most.

    Raises SwarmError if it doesn't answer in time, or has no time to dial: that says nothing about our ports.
    """
    asked = frozenset(list(ports)[:MOST_PORTS])
    try:
        async with asyncio.timeout(seconds):
            stream = await streams.open_stream(looker, PROTOCOL)
            try:
                reply = await ask(
                    stream, LookRequest(ports=sorted(asked)).SerializeToString(), _reply, seconds
                )
            finally:
                await close_streams(stream)
    except TimeoutError as error:
        raise SwarmError(f"peer {short_id(looker)} doesn't look in {seconds:g} s") from error
    if asked and not (asked := asked.intersection(reply.tried)):
        raise SwarmError(f"peer {short_id(looker)} has no time to look")
    own = []
    for maddr in reply.own[:_MOST_OWN]:
        with suppress(ProtocolError):
            if check_maddr("own", maddr) == looker:
                own.append(maddr)
    return Sight(
        looker=looker,
        asked=asked,
        observed=tuple(filter(_has_ip, reply.observed[:_MOST_OBSERVED])),
        reached=asked.intersection(reply.reached),
        own=tuple(own),
    )


class Looker:
    """Answers those who ask. `handle` is a stream handler."""

    def __init__(
        self,
        seen: Callable[[PeerId], Awaitable[Sequence[str]]],
        own_maddrs: Callable[[], Sequence[str]],
        may_dial_back: Callable[[str], bool],
    ) -> None:
        """`seen` are the multiaddresses from which a peer is connected.

        `may_dial_back` says whether who is connected from an IP address may be dialled there. Strangers come
        from loopback through a proxy or a forwarded port of this machine: they don't learn what else is open.
        """
        self._seen = seen
        self._own_maddrs = own_maddrs
        self._may_dial_back = may_dial_back
        self._answering: Counter[PeerId] = Counter()
        self._looked_at: OrderedDict[PeerId, float] = OrderedDict()
        self._looks = 0

    async def handle(self, peer_id: PeerId, stream: Stream) -> None:
        """Answer one request, and close the stream."""
        if self._answering.total() >= MOST_STREAMS or self._answering[peer_id] >= MOST_STREAMS_PER_ASKER:
            await close_streams(stream)
            return
        self._answering[peer_id] += 1
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = _parsed(LookRequest, await read_message(stream[0]))
            async with asyncio.timeout(2 * DIAL_SECONDS):
                reply = await self._answer(peer_id, request)
                await write_message(stream[1], reply.SerializeToString())
            await until_closed(stream, 1.0)
        except (OSError, EOFError, ProtocolError, SwarmError) as error:
            _logger.debug("a look for %s failed: %r", short_id(peer_id), error)
        finally:
            self._answering -= Counter({peer_id: 1})
            await close_streams(stream)

    async def _answer(self, peer_id: PeerId, request: LookRequest) -> LookReply:
        observed = list(await self._seen(peer_id))[:_MOST_OBSERVED]
        reply = LookReply(observed=observed, own=list(self._own_maddrs())[:_MOST_OWN])
        ports = {port for port in request.ports[:MOST_PORTS] if 0 < port < 65536}
        direct = [
            ip for maddr in observed if "/p2p-circuit" not in maddr and (ip := ip_of(maddr)) is not None
        ]
        hosts = [host for host in dict.fromkeys(map(str, direct)) if self._may_dial_back(host)][:2]
        if not ports or not hosts or not self._may_look(peer_id):
            return reply
        pairs = [(host, port) for port in sorted(ports) for host in hosts]
        self._looks += 1
        try:
            taken = await all_of(*(_takes_connections(host, port) for host, port in pairs))
        finally:
            self._looks -= 1
        reply.tried.extend(sorted(ports))
        reply.reached.extend(
            sorted({port for (_, port), is_open in zip(pairs, taken, strict=True) if is_open})
        )
        return reply

    def _may_look(self, peer_id: PeerId) -> bool:
        now = time.monotonic()
        last = self._looked_at.pop(peer_id, None)
        is_early = last is not None and now - last < SECONDS_BETWEEN_LOOKS
        self._looked_at[peer_id] = last if is_early and last is not None else now
        while len(self._looked_at) > _MOST_ASKERS:
            self._looked_at.popitem(last=False)
        return not is_early and self._looks < MOST_LOOKS


def _parsed(kind: type[_Message], data: bytes) -> _Message:
    """Raises ProtocolError."""
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ProtocolError("a message that can't be parsed") from error
    return message


def _has_ip(maddr: str) -> bool:
    """True for a multiaddress of an IP address that means the same to everybody: no card is named."""
    ip = ip_of(maddr)
    return ip is not None and "%" not in str(ip)


def _reply(data: bytes) -> LookReply:
    return _parsed(LookReply, data)


async def _takes_connections(host: str, port: int) -> bool:
    """True if a TCP connection can be made. Not a byte is sent."""
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.transport.abort()
    return True
