"""The servers of a model and the best route through them: joins records, experience and routing.

A token's price at a server (prices.py): its layers, the steps that wait before it, the way there, and for a
new hop its share of the replay. The queue is what the server says, unless the client has measured steps there
lately: those have waited. Who is pinged is decided in whom_to_ping.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

from p2pinfer.backoff import Chance
from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.route.asking import Asking
from p2pinfer.client.route.candidate import CLIENT, LAST_RESORT_SECONDS, Candidate, RouteHop
from p2pinfer.client.route.experience import Experience, life_of
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.client.route.links import Ways
from p2pinfer.client.route.prices import (
    Work,
    layer_seconds,
    replay_seconds,
    stranger_seconds,
    suspicion_seconds,
    waiting_seconds,
)
from p2pinfer.client.route.routing import find_route
from p2pinfer.client.route.shortage import LeftOut, Why, explained
from p2pinfer.client.route.strangers import Strangers
from p2pinfer.client.route.whom_to_ping import EVERYBODY, Prospect, whom_to_ping
from p2pinfer.client.trust.reputations import Reputations
from p2pinfer.errors import NoRouteError, SwarmError
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.threads import in_thread
from p2pinfer.types import PeerId

logger = logging.getLogger(__name__)

_FRESH_RECORDS_SECONDS = 5.0
_FRESH_PING_SECONDS = 15.0
_CONFIRMED_PING_SECONDS = 2.0
_IN_TOUCH_SECONDS = 40.0
"""Channels that nobody uses are closed after a minute."""
_NEWS_SECONDS = 600.0
_SEARCHED_AT_ONCE = 1000
"""A search among more candidates takes over 10 ms, so the event loop doesn't wait for it."""
_LEAVES_SOON_SECONDS = 60.0
"""A session does not begin at a server that leaves sooner than this, unless there is no other."""

_ONE_ROW = Work()


@dataclass(frozen=True, slots=True, kw_only=True)
class _RouteRequest:
    """The arguments of `Directory.route`."""

    held: Sequence[HopServer]
    numerics: str | None
    work: Work
    cache_tokens: int  # that the session needs in every layer
    without: frozenset[PeerId]
    fresh_ping_seconds: float


_IN_TOUCH = _RouteRequest(
    held=(),
    numerics=None,
    work=_ONE_ROW,
    cache_tokens=0,
    without=frozenset(),
    fresh_ping_seconds=_IN_TOUCH_SECONDS,
)


@dataclass(slots=True)
class Directory:
    """The servers of one model, as this client sees them. For the network's event loop."""

    swarm: Swarm
    carrier: Carrier
    model: str
    num_layers: int
    chance: Chance = random.random
    """What chooses among nearly equal routes; a simulation puts a seeded one here."""
    reputations: Reputations = field(default_factory=Reputations)
    """What is remembered of servers; see `Experience`."""
    experience: Experience = field(init=False)
    _strangers: Strangers = field(init=False)
    _records: dict[PeerId, Announcement] = field(default_factory=dict)
    _ways: Ways | None = None  # of the records, once a search needs them
    _said: dict[str, float] = field(default_factory=dict)
    _read_at: float = float("-inf")

    def __post_init__(self) -> None:
        position = self.swarm.position
        self.experience = Experience(
            self.carrier,
            self.reputations,
            on_pong=lambda record, pong: position.measured(
                record.peer_id, record.cell, pong.seconds, pong.way
            ),
        )
        self._strangers = Strangers(self.experience, self.chance)

    async def route(
        self,
        *,
        held: Sequence[HopServer] = (),
        numerics: str | None = None,
        work: Work = _ONE_ROW,
        cache_tokens: int = 0,
        without: Iterable[PeerId] = (),
    ) -> list[HopServer]:
        """Return the best route among servers that answer now. Raises NoRouteError.

        `held` are hops that have the caches of a session; a new hop needs a replay of its history, which is
        part of the `work`. Hops that stay have `hop.held` set. The fewer tokens are to come, the more a
        replay costs, and the more hops stay. The session takes `cache_tokens` of every layer; a server that
        announces less room is a last resort. `numerics` restricts the route to one class. None of `without`
        gets a new place.
        """
        request = _RouteRequest(
            held=held,
            numerics=numerics,
            work=work,
            cache_tokens=cache_tokens,
            without=frozenset(without),
            fresh_ping_seconds=_CONFIRMED_PING_SECONDS if held else _FRESH_PING_SECONDS,
        )
        if self._records and (held or _now() - self._read_at < _FRESH_RECORDS_SECONDS):
            with contextlib.suppress(NoRouteError):  # the known servers may not suffice
                return await self._choose(request, last_resort=False)
        await self.refresh()
        return await self._choose(request, last_resort=True)

    def is_news(self, shortage: str) -> bool:
        """True if no session has asked about this shortage lately: what all of them see is said once."""
        last, self._said[shortage] = self._said.get(shortage, float("-inf")), _now()
        return _now() - last > _NEWS_SECONDS

    async def keep_fresh(self, seconds: float) -> None:
        """Read the records again and again, so that replacements are known before a hop is lost.

        Some of them are pinged now and then: that keeps the channels to them open.
        """
        while True:
            await asyncio.sleep(seconds)
            if _now() - self._read_at >= seconds:  # another session may keep them fresh as well
                with contextlib.suppress(NoRouteError):
                    await self.refresh()
            self._keep_in_touch()

    async def close(self) -> None:
        """Stop measuring."""
        await self.experience.close()

    async def refresh(self) -> None:
        """Read the records. While the swarm can't be asked, the known ones stay in use."""
        try:
            records = await self.swarm.servers(self.model)
        except SwarmError as error:
            if not self._records:
                raise NoRouteError(str(error), waiting_for="the swarm to answer") from error
            logger.debug("the swarm can't be asked: %s", error)
            return
        self._records = {record.peer_id: record for record in records}
        self._ways = None
        self.experience.forget_strangers({life_of(record) for record in records})
        self._read_at = _now()

    def _keep_in_touch(self) -> None:
        """Ping replacements that were not pinged for a while: all of a few servers, some of many."""
        usable = [record for record in self._records.values() if self._why_not(record, _IN_TOUCH) is None]
        prospects = [self._prospect(record, _IN_TOUCH) for record in usable]
        for place in whom_to_ping(prospects, self.num_layers, self.chance, most=EVERYBODY):
            self.experience.ping(usable[place])

    async def _choose(self, request: _RouteRequest, *, last_resort: bool) -> list[HopServer]:
        """Return the best route of servers that answer; as a last resort, also of doubted and late ones."""
        avoided = {peer_id: self._why_not(record, request) for peer_id, record in self._records.items()}
        usable = [record for record in self._records.values() if avoided[record.peer_id] is None]
        self._strangers.learn(usable, now=_now(), is_new=not request.held)
        asking = Asking(
            self.experience,
            usable,
            [self._prospect(record, request) for record in usable],
            num_layers=self.num_layers,
            way_weight=request.work.way_weight,
            held=[server.hop.layers for server in request.held],
            fresh_seconds=request.fresh_ping_seconds,
            chance=self.chance,
        )
        await asking.ask()
        try:
            while self._is_doubtful(route := await self._find(usable, request)) and asking.is_waiting:
                await asking.answer()
            return route
        except NoRouteError:
            if not last_resort:
                raise
        while await asking.news():
            with contextlib.suppress(NoRouteError):
                return await self._find(usable, request)
        try:
            return await self._find(usable, request)
        except NoRouteError as error:
            raise self._explained(error, request, asking, avoided) from error

    def _is_doubtful(self, route: Sequence[HopServer]) -> bool:
        """True if the route has a link that broke lately: a server that answers later may be a way around."""
        peers = [CLIENT, *(server.hop.peer_id for server in route), CLIENT]
        return any(self.experience.is_broken(*link) for link in pairwise(peers))

    def _why_not(self, record: Announcement, request: _RouteRequest) -> Why | None:
        """Return why this server can't have a new place, as far as is known without asking it."""
        if record.num_layers != self.num_layers or record.layers.end > self.num_layers:
            return Why.OTHER_MODEL
        if record.state is ServerState.JOINING:
            return Why.LOADING
        if record.state is not ServerState.SERVING or record.peer_id in request.without:
            return Why.LEAVING
        if request.numerics not in (None, record.numerics):
            return Why.OTHER_NUMERICS
        return self.experience.why_avoided(life_of(record), request.cache_tokens)

    def _explained(
        self,
        error: NoRouteError,
        request: _RouteRequest,
        asking: Asking,
        avoided: Mapping[PeerId, Why | None],
    ) -> NoRouteError:
        """Return the error with what is known of each server that the search did not have.

        Some were `avoided` when it began, and wouldn't be any more: it didn't ask them for that reason.
        """
        had = [(server.hop.layers, server.record.numerics) for server in request.held]
        left_out, asked = [], asking.asked
        for record in self._records.values():
            why = self._why_not(record, request) or avoided.get(record.peer_id)
            if why is None and self.experience.answered(life_of(record), request.fresh_ping_seconds):
                had.append((record.layers, record.numerics))
                continue
            if why is None and record.peer_id not in asked:
                why = Why.NOT_ASKED
            if why is None:
                why = Why.UNREACHABLE if record.endpoints else Why.NO_ADDRESS
            left_out.append(LeftOut(record.layers, record.numerics, why))
        return explained(error, had, left_out, self.num_layers)

    async def _find(self, usable: Sequence[Announcement], request: _RouteRequest) -> list[HopServer]:
        """Return the best route of the held hops and the servers that have answered."""
        held = {(server.hop.peer_id, server.hop.layers): server for server in request.held}
        records = {**{server.hop.peer_id: server.record for server in request.held}, **self._records}
        staying = [
            self._held_candidate(server, records[server.hop.peer_id], request) for server in request.held
        ]
        coming = [
            self._candidate(record, request, self._round_trip(record))
            for record in usable
            if self.experience.answered(life_of(record), request.fresh_ping_seconds)
        ]
        broken = self.experience.broken_links()
        if self._ways is None:
            self._ways = Ways({record.peer_id: record.next_hop_seconds for record in self._records.values()})
        search = partial(
            find_route,
            [*staying, *coming],
            self.num_layers,
            ways=self._ways,
            way_weight=request.work.way_weight,
            broken=broken,
            chance=self.chance,
        )
        hops = search() if len(coming) <= _SEARCHED_AT_ONCE else await in_thread(search)
        return [
            replace(kept := held[(hop.peer_id, hop.layers)], hop=hop, record=_newest(kept.record, records))
            if hop.held
            else self._hop_server(hop, records[hop.peer_id])
            for hop in hops
        ]

    def _hop_server(self, hop: RouteHop, record: Announcement) -> HopServer:
        return HopServer(hop, record, self._round_trip(record), *self._strangers.speed(record))

    def _round_trip(self, record: Announcement) -> float:
        return self.experience.round_trip(life_of(record))

    def _prospect(self, record: Announcement, request: _RouteRequest) -> Prospect:
        life = life_of(record)
        return Prospect(
            candidate=self._candidate(record, request, self.experience.usual_round_trip(life)),
            standing=self.experience.standing(life, request.fresh_ping_seconds),
        )

    def _candidate(
        self, record: Announcement, request: _RouteRequest, round_trip_seconds: float
    ) -> Candidate:
        life, load = life_of(record), self.experience.load(record)
        has_room = load.free_cache_tokens >= request.cache_tokens
        seconds_per_layer = self._seconds_per_layer(record, request)
        entry_seconds = replay_seconds(record, request.work, self._strangers.speed(record)[1])
        entry_seconds += suspicion_seconds(self.experience.suspicion(life))
        entry_seconds += stranger_seconds(
            self._strangers.factor(record),
            request.work.way_weight * round_trip_seconds,
            seconds_per_layer * len(record.layers),
        )
        if not self.experience.has_pace(life):
            entry_seconds += waiting_seconds(record, load.queue_depth, seconds_per_layer)
        if self.experience.is_doubted(life) or _leaves_soon(record) or not has_room:
            entry_seconds += LAST_RESORT_SECONDS
        return Candidate(
            peer_id=record.peer_id,
            layers=record.layers,
            numerics=record.numerics,
            seconds_per_layer=seconds_per_layer,
            entry_seconds=entry_seconds,
            round_trip_seconds=round_trip_seconds,
            next_hop_seconds=record.next_hop_seconds,
            free_tokens=self._strangers.room(record, load.free_cache_tokens),
        )

    def _held_candidate(self, server: HopServer, latest: Announcement, request: _RouteRequest) -> Candidate:
        """Its queue has no price: the session's own steps may be in it."""
        return Candidate(
            peer_id=server.hop.peer_id,
            layers=server.hop.layers,
            numerics=server.record.numerics,
            seconds_per_layer=self._seconds_per_layer(server.record, request),
            entry_seconds=suspicion_seconds(self.experience.suspicion(life_of(server.record))),
            round_trip_seconds=self._round_trip(latest),
            next_hop_seconds=latest.next_hop_seconds,
            held=True,
        )

    def _seconds_per_layer(self, record: Announcement, request: _RouteRequest) -> float:
        work = request.work
        known = self.experience.seconds_per_layer(
            record, work.step_context_tokens, rows=work.rows_under_way, believed=self._strangers.speed(record)
        )
        return layer_seconds(known, work)


def _newest(kept: Announcement, records: Mapping[PeerId, Announcement]) -> Announcement:
    """The newest record of the server that a hop is at: no server dials what an expired one names.

    One with another certificate is that of a server that was started again, and has lost the session.
    """
    newest = records.get(kept.peer_id, kept)
    return newest if life_of(newest) == life_of(kept) else kept


def _leaves_soon(record: Announcement) -> bool:
    return record.leaves_at is not None and record.leaves_at - time.time() < _LEAVES_SOON_SECONDS


def _now() -> float:
    return asyncio.get_running_loop().time()
