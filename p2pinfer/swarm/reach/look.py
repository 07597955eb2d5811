"""Whether others can dial this member: it asks one that it is connected with to try.

AutoNAT of libp2p does the same, but says nothing before several peers agreed, and nothing to this process.
The one who looks dials only the address from which the asker is connected: nobody makes it knock elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from p2pinfer.errors import ProtocolError, SwarmError
from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.fairness.sources import source_of
from p2pinfer.swarm.addresses import ip_of
from p2pinfer.swarm.look_pb2 import LookReply, LookRequest
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import accepts
from p2pinfer.swarm.reach.dialable import ip_in
from p2pinfer.swarm.reach.relay.framing import ask, close_streams, read_message, until_closed, write_message
from p2pinfer.swarm.reach.relay.messages import parse
from p2pinfer.swarm.records.bounds import check_maddr
from p2pinfer.tasks import all_of
from p2pinfer.types import PeerId, short_id

LOOK = "/p2pinfer/look/1"
MOST_PORTS = 4
DIAL_SECONDS = 1.5
MOST_LOOKS = 16
"""At the same time, of one looker."""
MOST_REQUESTS = 64
"""That are open at the same time, those included that wait for their message."""
MOST_REQUESTS_PER_ASKER = 2
SECONDS_BETWEEN_LOOKS = 2.0
"""For one asker."""
LOOKS = RateBound(in_all=240, per_source=40, per_key=40)
"""A minute. Askers cost nothing, and who shares an address with others must not have their ports tried."""
_MOST_ASKERS = 1024
_MOST_OBSERVED = 8
_MOST_HOSTS = 2
_MOST_OWN = 4

_logger = logging.getLogger(__name__)


class Streams(Protocol):
    """Opens libp2p streams."""

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        """Raises SwarmError if the peer can't be reached or doesn't speak `protocol`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a member that looked has seen of us."""

    looker: PeerId
    hosts: tuple[str, ...]  # the IP addresses from which we are connected
    asked: frozenset[int]  # our ports that it was asked to dial
    tried: frozenset[tuple[str, int]]  # where it has dialled, of `hosts` and `asked`
    taken: frozenset[tuple[str, int]]  # where that worked
    own: tuple[str, ...]  # its own full multiaddresses


async def look(streams: Streams, looker: PeerId, ports: Iterable[int], seconds: float) -> Sight:
    """Ask a member to dial our TCP `ports`, four at most. Raises SwarmError if it doesn't answer in time."""
    asked = frozenset(list(ports)[:MOST_PORTS])
    try:
        async with asyncio.timeout(seconds):
            stream = await streams.open_stream(looker, LOOK)
            try:
                reply = await ask(
                    stream, LookRequest(ports=sorted(asked)).SerializeToString(), _reply, seconds
                )
            finally:
                await close_streams(stream)
    except TimeoutError as error:
        raise SwarmError(f"peer {short_id(looker)} doesn't look in {seconds:g} s") from error
    own = []
    for maddr in reply.own[:_MOST_OWN]:
        with suppress(ProtocolError):
            if check_maddr("own", maddr) == looker:
                own.append(maddr)
    hosts = _hosts_of(reply.observed[:_MOST_OBSERVED])
    attempts = {
        (attempt.host, attempt.port): attempt.taken
        for attempt in reply.attempts[: len(hosts) * MOST_PORTS]
        if attempt.host in hosts and attempt.port in asked
    }
    return Sight(
        looker=looker,
        hosts=hosts,
        asked=asked,
        tried=frozenset(attempts),
        taken=frozenset(place for place, taken in attempts.items() if taken),
        own=tuple(own),
    )


class Looker:
    """Answers those who ask. `handle` is a stream handler."""

    def __init__(
        self,
        connections: Callable[[], Awaitable[Mapping[PeerId, Sequence[str]]]],
        own_maddrs: Callable[[], Sequence[str]],
        may_dial_back: Callable[[str], bool],
    ) -> None:
        """`connections` are the connected peers and the multiaddresses from which they are connected.

        `may_dial_back` says whether who is connected from an IP address may be dialled there. Strangers come
        from loopback through a proxy or a forwarded port of this machine: they don't learn what else is open.
        """
        self._connections = connections
        self._own_maddrs = own_maddrs
        self._may_dial_back = may_dial_back
        self._rates = Rates(LOOKS)
        self._looked_at: OrderedDict[PeerId, float] = OrderedDict()
        self._looks = 0
        self._requests: Counter[PeerId] = Counter()

    async def handle(self, peer_id: PeerId, stream: Stream) -> None:
        """Answer one request, and close the stream."""
        self._requests[peer_id] += 1
        try:
            if self._requests[peer_id] > MOST_REQUESTS_PER_ASKER or self._requests.total() > MOST_REQUESTS:
                raise ProtocolError("too many at a time")
            async with asyncio.timeout(2 * DIAL_SECONDS + 2.0):
                request = parse(LookRequest(), await read_message(stream[0]))
                reply = await self._answer(peer_id, request)
                await write_message(stream[1], reply.SerializeToString())
            await until_closed(stream, 1.0)
        except (OSError, EOFError, ProtocolError, SwarmError) as error:
            _logger.debug("a look for %s failed: %r", short_id(peer_id), error)
        finally:
            self._requests -= Counter({peer_id: 1})
            await close_streams(stream)

    async def _answer(self, peer_id: PeerId, request: LookRequest) -> LookReply:
        observed = list((await self._connections()).get(peer_id, ()))[:_MOST_OBSERVED]
        reply = LookReply(observed=observed, own=list(self._own_maddrs())[:_MOST_OWN])
        ports = {port for port in request.ports[:MOST_PORTS] if 0 < port < 65536}
        hosts = [host for host in _hosts_of(observed) if self._may_dial_back(host)][:_MOST_HOSTS]
        if not ports or not hosts or not self._may_look(peer_id, hosts):
            return reply
        places = [(host, port) for port in sorted(ports) for host in hosts]
        self._looks += 1
        try:
            found = await all_of(*(accepts(host, port, DIAL_SECONDS) for host, port in places))
        finally:
            self._looks -= 1
        for (host, port), taken in zip(places, found, strict=True):
            reply.attempts.add(host=host, port=port, taken=taken)
        return reply

    def _may_look(self, peer_id: PeerId, hosts: Iterable[str]) -> bool:
        now = time.monotonic()
        last = self._looked_at.pop(peer_id, None)
        is_early = last is not None and now - last < SECONDS_BETWEEN_LOOKS
        self._looked_at[peer_id] = last if is_early and last is not None else now
        while len(self._looked_at) > _MOST_ASKERS:
            self._looked_at.popitem(last=False)
        if is_early or self._looks >= MOST_LOOKS:
            return False
        return self._rates.use(Guest(sources=tuple(dict.fromkeys(map(source_of, hosts)))), now) == 0


def _reply(data: bytes) -> LookReply:
    return parse(LookReply(), data)


def _hosts_of(maddrs: Iterable[str]) -> tuple[str, ...]:
    """The IP addresses in multiaddresses, each once; those of one network card (`%eth0`) are left out."""
    ips = [ip_in(str(ip)) for maddr in maddrs if (ip := ip_of(maddr)) is not None]
    return tuple(dict.fromkeys(str(ip) for ip in ips if ip is not None))
