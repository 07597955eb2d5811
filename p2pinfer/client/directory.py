"""What the client knows about servers: their records, how far away they are, who failed lately."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from p2pinfer.client.carrier import Carrier
from p2pinfer.client.hop import HopServer
from p2pinfer.client.routing import CLIENT, Candidate, find_route
from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError, SwarmError
from p2pinfer.swarm.announcement import Announcement, ServerState
from p2pinfer.swarm.dht import Swarm
from p2pinfer.types import PeerId
from p2pinfer.wire.ways import Address

logger = logging.getLogger(__name__)

_FRESH_RECORDS_SECONDS = 5.0
_FRESH_PING_SECONDS = 60.0
_CONFIRMED_PING_SECONDS = 2.0
_PING_SECONDS = 5.0
_LAGGARDS_SECONDS = 0.5
_UNREACHABLE_SECONDS = 15.0
_ASSUMED_SECONDS_PER_LAYER = 0.001
_ASSUMED_PREFILL_TOKENS_PER_SECOND = 500.0
_MEASURED_SECONDS = 60.0
_LAST_RESORT_SECONDS = 10.0
"""What a doubted peer or a broken link costs in the search: more than any way around it."""

_OPENING_SECONDS = 0.1

TOKENS_TO_COME = 128
"""How many tokens a new hop is expected to compute: the price of feeding it is spread over so many."""


class _Ping(NamedTuple):
    seconds: float
    at: float


class _Measured(NamedTuple):
    seconds_per_layer: float
    until: float


@dataclass(slots=True)
class Directory:
    """The servers of one model, as this client sees them. For the network's event loop."""

    swarm: Swarm
    carrier: Carrier
    model: str
    num_layers: int
    _records: dict[PeerId, Announcement] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _pings: dict[PeerId, _Ping] = field(default_factory=dict)
    _pinging: dict[PeerId, asyncio.Task[None]] = field(default_factory=dict)
    _avoided: dict[tuple[PeerId, bytes], float] = field(default_factory=dict)  # peer, certificate: until
    _doubted: dict[PeerId, float] = field(default_factory=dict)  # until
    _broken_links: dict[tuple[PeerId, PeerId], float] = field(default_factory=dict)  # until
    _measured: dict[PeerId, _Measured] = field(default_factory=dict)

    def avoid(self, peer_id: PeerId, seconds: float) -> None:
        """Give this peer no new place in routes for a while, unless it starts anew."""
        record = self._records.get(peer_id)
        if record is not None:
            self._avoided[(peer_id, record.certificate)] = _now() + seconds
        self._pings.pop(peer_id, None)

    def doubt(self, peer_id: PeerId, seconds: float) -> None:
        """Give this peer new places in routes for a while only where there is no other, and if it answers."""
        self._doubted[peer_id] = _now() + seconds
        self._pings.pop(peer_id, None)

    def avoid_link(self, sender: PeerId, receiver: PeerId, seconds: float) -> None:
        """Don't make these two neighbours for a while, if there is another way."""
        self._broken_links[(sender, receiver)] = _now() + seconds

    def measured(self, peer_id: PeerId, seconds_per_layer: float) -> None:
        """What a hop really takes, queue and all, wins over what it says of itself."""
        self._measured[peer_id] = _Measured(seconds_per_layer, _now() + _MEASURED_SECONDS)

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
        fresh_pings = _CONFIRMED_PING_SECONDS if held else _FRESH_PING_SECONDS
        barred = set(without)
        price = partial(_feeding_seconds, tokens=tokens, tokens_to_come=tokens_to_come)
        refreshed = False
        if _now() - self._read_at > _FRESH_RECORDS_SECONDS and not (held and self._records):
            refreshed = await self._refresh()
        while True:
            try:
                return await self._choose(held, numerics, price, barred, fresh_pings)
            except NoRouteError:
                if refreshed:
                    raise
            refreshed = True
            await self._refresh()

    async def keep_fresh(self, seconds: float) -> None:
        """Read the records again and again, so that who replaces a hop is known before one is lost."""
        while True:
            await asyncio.sleep(seconds)
            if _now() - self._read_at >= seconds:  # others may keep it fresh as well
                with contextlib.suppress(NoRouteError):
                    await self._refresh()

    async def close(self) -> None:
        """Stop measuring."""
        tasks = list(self._pinging.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self) -> bool:
        """Read the records. What is known stays in use while the swarm can't be asked."""
        try:
            records = await self.swarm.servers(self.model)
        except SwarmError as error:
            if not self._records:
                raise NoRouteError(str(error)) from error
            logger.debug("the swarm can't be asked: %s", error)
            return True
        self._records = {record.peer_id: record for record in records}
        self._read_at = _now()
        return True

    async def _choose(
        self,
        held: Sequence[HopServer],
        numerics: str | None,
        price: Callable[[Announcement], float],
        barred: set[PeerId],
        fresh_pings: float,
    ) -> list[HopServer]:
        now = _now()
        usable = [
            record
            for record in self._records.values()
            if record.state is ServerState.SERVING
            and record.num_layers == self.num_layers
            and record.layers.end <= self.num_layers
            and numerics in (None, record.numerics)
            and record.peer_id not in barred
            and self._avoided.get((record.peer_id, record.certificate), 0.0) <= now
        ]
        kept = {(server.hop.peer_id, server.hop.layers): server for server in held}
        records = {**{server.hop.peer_id: server.record for server in held}, **self._records}
        stay = [self._held_candidate(server) for server in held]
        pings = {record.peer_id: self._ping(record, fresh_pings) for record in usable}
        waiting = {task for peer_id, task in pings.items() if task and not self._is_doubted(peer_id)}
        last_resort = {task for peer_id, task in pings.items() if task and self._is_doubted(peer_id)}
        patience = _LAGGARDS_SECONDS
        while True:
            if waiting:  # not for all of them: a server that is gone answers never
                _, waiting = await asyncio.wait(waiting, timeout=patience)
            reachable = [record for record in usable if self._is_fresh(record, fresh_pings)]
            candidates = [*stay, *(self._candidate(record, price(record)) for record in reachable)]
            try:
                hops = find_route(candidates, self.num_layers, partial(self._delay, records))
            except NoRouteError:
                waiting, last_resort = waiting | last_resort, set()
                if not waiting:
                    raise
                patience = _PING_SECONDS
                continue
            return [
                replace(kept[(hop.peer_id, hop.layers)], hop=hop)
                if hop.held
                else HopServer(hop, records[hop.peer_id], self._round_trip(hop.peer_id))
                for hop in hops
            ]

    def _delay(self, records: Mapping[PeerId, Announcement], here: PeerId, there: PeerId) -> float:
        """One-way seconds: half the measured round trip; between servers what they say, or a bound."""
        broken = self._broken_links.get((here, there), 0.0) > _now()
        penalty = _LAST_RESORT_SECONDS if broken else 0.0
        if CLIENT in (here, there):
            return penalty + self._round_trip(there if here == CLIENT else here) / 2
        announced = records[here].next_hop_seconds.get(there)
        if announced is not None:
            return penalty + announced / 2
        return penalty + (self._round_trip(here) + self._round_trip(there)) / 2

    def _is_doubted(self, peer_id: PeerId) -> bool:
        return self._doubted.get(peer_id, 0.0) > _now()

    def _round_trip(self, peer_id: PeerId) -> float:
        ping = self._pings.get(peer_id)
        return ping.seconds if ping else 0.0

    def _is_fresh(self, record: Announcement, seconds: float) -> bool:
        known = self._pings.get(record.peer_id)
        return known is not None and _now() - known.at < seconds

    def _ping(self, record: Announcement, fresh_seconds: float) -> asyncio.Task[None] | None:
        """Measure a server unless that was done lately."""
        if self._is_fresh(record, fresh_seconds):
            return None
        task = self._pinging.get(record.peer_id)
        if task is None:
            task = asyncio.create_task(self._measure(record))
            self._pinging[record.peer_id] = task
            task.add_done_callback(lambda _: self._pinging.pop(record.peer_id, None))
        return task

    async def _measure(self, record: Announcement) -> None:
        address = Address(record.peer_id, record.endpoints, record.certificate)
        try:
            async with asyncio.timeout(_PING_SECONDS):
                seconds = await self.carrier.ping(address)
        except (HopFailedError, RefusedError, TimeoutError):
            self._pings.pop(record.peer_id, None)
            self._avoided[(record.peer_id, record.certificate)] = _now() + _UNREACHABLE_SECONDS
            return
        self._pings[record.peer_id] = _Ping(seconds, _now())

    def _candidate(self, record: Announcement, price_seconds: float) -> Candidate:
        return Candidate(
            peer_id=record.peer_id,
            layers=record.layers,
            numerics=record.numerics,
            seconds_per_layer=self._seconds_per_layer(record),
            opening_seconds=price_seconds
            + (_LAST_RESORT_SECONDS if self._is_doubted(record.peer_id) else 0.0),
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
        measured = self._measured.get(record.peer_id)
        if measured is not None and measured.until > _now():
            return measured.seconds_per_layer
        return record.decode_seconds_per_layer or _ASSUMED_SECONDS_PER_LAYER


def _feeding_seconds(record: Announcement, *, tokens: int, tokens_to_come: int) -> float:
    """What it costs per token to come to open a session and feed it the history."""
    rate = record.prefill_tokens_per_second or _ASSUMED_PREFILL_TOKENS_PER_SECOND
    return (_OPENING_SECONDS + tokens / rate) / tokens_to_come


def _now() -> float:
    return asyncio.get_running_loop().time()
