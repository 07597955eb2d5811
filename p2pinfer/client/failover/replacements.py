"""Replacing hops of one session's chain: routes with other servers, the splices for them, and what failed.

Mending after a failure and handing over before a departure both use this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.pending_rows import Embed
from p2pinfer.client.chain.splice import Splice
from p2pinfer.client.failover.recovery import DOUBTED_PEER_SECONDS, FAILED_LINK_SECONDS, Remedy, after_failure
from p2pinfer.client.network import Network
from p2pinfer.client.route.aim import Aim
from p2pinfer.client.route.experience import life_of
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.client.route.prices import TOKENS_TO_COME, Work
from p2pinfer.client.route.shortage import why_avoided
from p2pinfer.client.trust.reputation import Offence
from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError
from p2pinfer.types import PeerId

RECOVERED_TOKENS = 16
"""While the reader waits, only lost hops are replaced, unless another server is much better. So the price of
a replay is spread over these few tokens."""

_LOOK_SECONDS = 0.7
_LOOKS = 3
"""After so many looks for another server, each after twice the time, a doubted one is better than none."""

_QUEUE_STEPS = 2
"""A server that says so many steps wait is busy: one of them is the client's own."""


class Replacements:
    """Finds servers for a session's chain, splices them in, counts them, and remembers failures."""

    def __init__(self, network: Network, *, embed: Embed, held: Callable[[], list[list[int]]]) -> None:
        """`held` returns the tokens of each row that every hop has."""
        self.chain: Chain | None = None
        self.network = network
        self.held = held
        self.replayed_tokens = 0
        self.replaced_hops = 0
        self.numerics: str | None = None
        """The numerics class of the session; None until it is open. All its hops have the same."""
        self._embed = embed

    async def route(
        self, stay: Iterable[Hop], *, without: Iterable[PeerId] = (), tokens_to_come: int = TOKENS_TO_COME
    ) -> list[HopServer]:
        """Find the best route in which the hops `stay` need no replay. Raises NoRouteError."""
        shape = self.chain.shape if self.chain is not None else None
        return await self.network.directory.route(
            held=[hop.server for hop in stay],
            numerics=self.numerics,
            work=Work(
                history_tokens=sum(map(len, self.held())),
                tokens_to_come=tokens_to_come,
                rows=shape.rows if shape is not None else 1,
                aim=shape.aim if shape is not None else Aim.LATENCY,
            ),
            cache_tokens=shape.cache_tokens if shape is not None else 0,
            without=without,
        )

    async def has_other(self, hop: Hop) -> bool:
        """True if another server can take this hop's place now: one that is not doubted, if it can wait."""
        chain = self.chain
        if chain is None:
            return False
        hop.looks += 1
        experience = self.network.directory.experience
        experience.ping(hop.server.record)  # it says how many steps wait there, for what is remembered of it
        gone = [other for other in chain.hops if other.failure is not None or other.draining]
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                route = await self.route(
                    [other for other in chain.hops if other is not hop and other not in gone],
                    without=[hop.peer_id, *(other.peer_id for other in gone)],
                    tokens_to_come=RECOVERED_TOKENS,
                )
        except (NoRouteError, TimeoutError):
            return False
        coming = [life_of(server.record) for server in route if not server.hop.held]
        return hop.looks >= _LOOKS or not any(experience.is_doubted(life) for life in coming)

    def splice(self, chain: Chain, route: Sequence[HopServer], *, warm: bool) -> Splice:
        """Plan the change of a chain into this route."""
        parts: list[Hop | HopServer] = []
        for server in route:
            if (hop := kept_hop(chain, server)) is not None:
                hop.server = replace(hop.server, record=server.record)  # new neighbours need the newest one
            parts.append(hop or server)
        return Splice(chain, parts, payer=self.network.payer, embed=self._embed, warm=warm)

    def count(self, splice: Splice) -> None:
        """Count a splice that replaced hops."""
        self.replayed_tokens += splice.replayed_tokens
        self.replaced_hops += len(splice.fresh)

    def remember(self, error: HopFailedError | RefusedError, asked: Sequence[HopServer]) -> PeerId | None:
        """Act on what one of the servers `asked` has said or done: recovery.py decides what follows.

        Returns the peer whose hop must be replaced. Raises `error` if no other route would help.
        """
        remedy = after_failure(error)
        if remedy is None:
            raise error
        experience = self.network.directory.experience
        self._suspect(remedy, asked)
        for server in asked:
            if remedy.offence is not None and server.hop.peer_id == remedy.replace:
                experience.offended(life_of(server.record), self._as_it_seems(remedy.offence, server))
        for server in asked:  # a server that has started at the same peer since then is innocent
            if server.hop.peer_id == remedy.avoid:
                experience.avoid(
                    life_of(server.record),
                    remedy.avoid_seconds,
                    why_avoided(error),
                    cache_tokens=self.chain.shape.cache_tokens if self.chain is not None else 0,
                )
            if server.hop.peer_id == remedy.doubt:
                experience.doubt(life_of(server.record), DOUBTED_PEER_SECONDS, is_failure=True)
        if remedy.avoid_link is not None:
            experience.avoid_link(*remedy.avoid_link, FAILED_LINK_SECONDS)
        return remedy.replace

    def _suspect(self, remedy: Remedy, asked: Sequence[HopServer]) -> None:
        """Let those who took part share the doubt: next to a known server an unknown one has all of it."""
        experience = self.network.directory.experience
        suspects = [server for server in asked if server.hop.peer_id in remedy.suspects]
        unknown = [server for server in suspects if not experience.is_known(life_of(server.record))]
        for server in suspects:
            life, is_alone = life_of(server.record), unknown == [server]
            experience.suspect(life, 1.0 if is_alone else remedy.suspects[server.hop.peer_id])
            if server in unknown and experience.suspicion(life) >= 1.0 and remedy.avoid_link is not None:
                experience.offended(life, Offence.BUSY)

    def _as_it_seems(self, offence: Offence, server: HopServer) -> Offence:
        """What a server's offence counts as: others may wait there, or it may be a first time."""
        experience = self.network.directory.experience
        is_first = (
            experience.is_known(life_of(server.record))
            and not experience.reputations.of(server.hop.peer_id).offences
        )
        is_queue = experience.load(server.record).queue_depth >= _QUEUE_STEPS
        return Offence.BUSY if offence is Offence.STALLED and (is_first or is_queue) else offence


def kept_hop(chain: Chain, server: HopServer) -> Hop | None:
    """Return the hop that a route keeps here; None if the route has a new one, or the hop was lost since."""
    for hop in chain.hops if server.hop.held else []:
        if (hop.peer_id, hop.server.hop.layers) == (server.hop.peer_id, server.hop.layers):
            return None if hop.failure is not None else hop
    return None
