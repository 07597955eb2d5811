"""Which servers there are, and the best route through them: records, experience and routing put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.route.experience import Experience, run_of
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.client.route.routing import CLIENT, Candidate, find_route
from p2pinfer.errors import NoRouteError, SwarmError
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId

logger = logging.getLogger(__name__)

TOKENS_TO_COME = 128
"""How many tokens a new hop is expected to compute: the price of feeding it is spread over so many."""

_FRESH_RECORDS_SECONDS = 5.0
_FRESH_PING_SECONDS = 15.0
_CONFIRMED_PING_SECONDS = 2.0
_LAGGARDS_SECONDS = 0.5
_OPENING_SECONDS = 0.1
_ASSUMED_SECONDS_PER_LAYER = 0.001
_ASSUMED_PREFILL_TOKENS_PER_SECOND = 500.0
_LAST_RESORT_SECONDS = 10.0
"""What a doubted peer, or one about to leave, or a broken link costs in the search: more than any way
around it."""
_LEAVES_SOON_SECONDS = 60.0
"""Nobody begins with a server that says that it will be gone so soon, unless there is no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What a route is asked for."""

    held: Sequence[HopServer]
    numerics: str | None
    price_seconds: Callable[[Announcement], float]  # per token to come
    without: frozenset[PeerId]
    fresh_ping_seconds: float


@dataclass(slots=True)
class Directory:
    """The servers of one model, as this client sees them. For the network's event loop."""

    swarm: Swarm
    carrier: Carrier
    model: str
    num_layers: int
    experience: Experience = field(init=False)
    _records: dict[PeerId, Announcement] = field(default_factory=dict)
    _read_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.experience = Experience(self.carrier)

    async def route(
        self,
        *,
        held: Sequence[HopServer] = (),
        numerics: str | None = None,
        tokens: int = 0,
        tokens_to_come: int = TOKENS_TO_COME,
        without: Iterable[PeerId] = (),
    ) -> list[HopServer]:
        """The best route among servers that answer now. Raises NoRouteError.

        `held` are hops that have the caches of a session of so many `tokens`; others have to be fed them.
        They come back as they are, with `hop.held`. The fewer `tokens_to_come`, the more of them stay.
        `numerics` restricts the route to one class, and none of `without` gets a new place in it.
        """
        wish = _Wish(
            held=held,
            numerics=numerics,
            price_seconds=partial(_feeding_seconds, tokens=tokens, tokens_to_come=tokens_to_come),
            without=frozenset(without),
            fresh_ping_seconds=_CONFIRMED_PING_SECONDS if held else _FRESH_PING_SECONDS,
        )
        if self._records and (held or _now() - self._read_at < _FRESH_RECORDS_SECONDS):
            with contextlib.suppress(NoRouteError):  # of those who are known and answer soon
                return await self._choose(wish, last_resort=False)
        await self._refresh()
        return await self._choose(wish, last_resort=True)

    async def keep_fresh(self, seconds: float) -> None:
        """Read the records again and again, so that who replaces a hop is known before one is lost."""
        while True:
            await asyncio.sleep(seconds)
            if _now() - self._read_at >= seconds:  # others may keep it fresh as well
                with contextlib.suppress(NoRouteError):
                    await self._refresh()

    async def close(self) -> None:
        """Stop measuring."""
        await self.experience.close()

    async def _refresh(self) -> None:
        """Read the records. What is known stays in use while the swarm can't be asked."""
        try:
            records = await self.swarm.servers(self.model)
        except SwarmError as error:
            if not self._records:
                raise NoRouteError(str(error)) from error
            logger.debug("the swarm can't be asked: %s", error)
            return
        self._records = {record.peer_id: record for record in records}
        self._read_at = _now()

    async def _choose(self, wish: _Wish, *, last_resort: bool) -> list[HopServer]:
        """The best route of those who answer; with `last_resort` also of those who failed, or answer late."""
        usable = [record for record in self._records.values() if self._is_usable(record, wish)]
        trusted = [record for record in usable if not self.experience.is_doubted(run_of(record))]
        waiting = self._ping(trusted, wish)
        if waiting:  # but not for all of them: a server that is gone answers never
            _, waiting = await asyncio.wait(waiting, timeout=_LAGGARDS_SECONDS)
        try:
            while self._is_doubtful(route := self._find(usable, wish)) and waiting:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return route
        except NoRouteError:
            if not last_resort:
                raise
        waiting |= self._ping(usable, wish)
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(NoRouteError):
                return self._find(usable, wish)
        return self._find(usable, wish)

    def _is_doubtful(self, route: Sequence[HopServer]) -> bool:
        """True if it leads over a link that broke lately: who answers later may be the way around."""
        peers = [CLIENT, *(server.hop.peer_id for server in route), CLIENT]
        return any(self.experience.is_broken(*link) for link in pairwise(peers))

    def _is_usable(self, record: Announcement, wish: _Wish) -> bool:
        return (
            record.state is ServerState.SERVING
            and record.num_layers == self.num_layers
            and record.layers.end <= self.num_layers
            and wish.numerics in (None, record.numerics)
            and record.peer_id not in wish.without
            and not self.experience.is_avoided(run_of(record))
        )

    def _ping(self, records: Iterable[Announcement], wish: _Wish) -> set[asyncio.Task[None]]:
        """Measure those that were not measured lately."""
        return {
            self.experience.ping(record)
            for record in records
            if not self.experience.answered(run_of(record), wish.fresh_ping_seconds)
        }

    def _find(self, usable: Sequence[Announcement], wish: _Wish) -> list[HopServer]:
        """The best route of those who have answered."""
        held = {(server.hop.peer_id, server.hop.layers): server for server in wish.held}
        records = {**{server.hop.peer_id: server.record for server in wish.held}, **self._records}
        stay = [self._held_candidate(server) for server in wish.held]
        come = [
            self._candidate(record, wish)
            for record in usable
            if self.experience.answered(run_of(record), wish.fresh_ping_seconds)
        ]
        hops = find_route([*stay, *come], self.num_layers, partial(self._delay, records))
        return [
            replace(held[(hop.peer_id, hop.layers)], hop=hop)
            if hop.held
            else HopServer(hop, records[hop.peer_id], self._round_trip(records[hop.peer_id]))
            for hop in hops
        ]

    def _delay(self, records: Mapping[PeerId, Announcement], here: PeerId, there: PeerId) -> float:
        """One-way seconds: half the measured round trip; between servers what they say, or a bound."""
        penalty = _LAST_RESORT_SECONDS if self.experience.is_broken(here, there) else 0.0
        if CLIENT in (here, there):
            return penalty + self._round_trip(records[there if here == CLIENT else here]) / 2
        announced = records[here].next_hop_seconds.get(there)
        if announced is not None:
            return penalty + announced / 2
        return penalty + (self._round_trip(records[here]) + self._round_trip(records[there])) / 2

    def _round_trip(self, record: Announcement) -> float:
        return self.experience.round_trip(run_of(record))

    def _candidate(self, record: Announcement, wish: _Wish) -> Candidate:
        last_resort = self.experience.is_doubted(run_of(record)) or _leaves_soon(record)
        return Candidate(
            peer_id=record.peer_id,
            layers=record.layers,
            numerics=record.numerics,
            seconds_per_layer=self._seconds_per_layer(record),
            opening_seconds=wish.price_seconds(record) + (_LAST_RESORT_SECONDS if last_resort else 0.0),
        )

    def _held_candidate(self, server: HopServer) -> Candidate:
        return Candidate(
            peer_id=server.hop.peer_id,
            layers=server.hop.layers,
            numerics=server.record.numerics,
            seconds_per_layer=self._seconds_per_layer(server.record),
            held=True,
        )

    def _seconds_per_layer(self, record: Announcement) -> float:
        measured = self.experience.seconds_per_layer(run_of(record))
        return measured or record.decode_seconds_per_layer or _ASSUMED_SECONDS_PER_LAYER


def _feeding_seconds(record: Announcement, *, tokens: int, tokens_to_come: int) -> float:
    """What it costs per token to come to open a session and feed it the history."""
    rate = record.prefill_tokens_per_second or _ASSUMED_PREFILL_TOKENS_PER_SECOND
    return (_OPENING_SECONDS + tokens / rate) / tokens_to_come


def _leaves_soon(record: Announcement) -> bool:
    return record.leaves_at is not None and record.leaves_at - time.time() < _LEAVES_SOON_SECONDS


def _now() -> float:
    return asyncio.get_running_loop().time()
