"""What a client has measured at servers: how far away they are, which failed, and how fast they were.

A server that restarts has a new certificate, and a clean slate, but for what is remembered of it for longer
(client/trust).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import NamedTuple

from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.reach.pong import Pong
from p2pinfer.client.route.shortage import LACKS_ROOM, Why
from p2pinfer.client.route.whom_to_ping import Standing
from p2pinfer.client.trust.reputation import Offence
from p2pinfer.client.trust.reputations import Reputations
from p2pinfer.errors import HopFailedError, RefusedError
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.tasks import Nursery
from p2pinfer.types import LayerSeconds, PeerId, Way

_PING_SECONDS = 5.0
_UNREACHABLE_SECONDS = 15.0
_MEASURED_SECONDS = 60.0
_AGAIN_SECONDS = 60.0
_MOST_MEASURED_SECONDS = 1800.0
_SUSPECTED_SECONDS = 60.0
"""After so long half of a suspicion is gone."""

_SUSPICIONS_BOUND = 1000
_MOST_LEAVING_SECONDS = 300.0
_MOST_DOUBTED_SECONDS = 600.0
_REMEMBERED_SECONDS = 600.0
"""How long a server that has gone is remembered. A stranger can announce new ones without end."""


class ServerLife(NamedTuple):
    """One life of a server: from its start to its end."""

    peer_id: PeerId
    certificate: bytes


class _Measurement(NamedTuple):
    seconds: float
    at: float
    way: Way | None  # that was measured


class Load(NamedTuple):
    """What a server has to do, and what it has left."""

    queue_depth: int  # waiting steps
    free_cache_tokens: int


class _LastPing(NamedTuple):
    pong: Pong | None  # None: no answer
    at: float
    announced_at: float  # of the server's record at that time


class _Avoided(NamedTuple):
    until: float
    why: Why
    from_tokens: int  # of cache that a session takes: smaller ones may be taken


class _Pace(NamedTuple):
    seconds_per_layer: float
    context_tokens: int
    rows: int
    at: float
    lasts_seconds: float = _MEASURED_SECONDS
    times: int = 0  # that the server was left because of its pace


class _Suspicion(NamedTuple):
    weight: float
    at: float


@dataclass(slots=True)
class Experience:
    """For the network's event loop."""

    carrier: Carrier
    reputations: Reputations = field(default_factory=Reputations)
    """What is remembered for longer than this process lives; its times are those of `unix_now`."""
    unix_now: Callable[[], float] = time.time
    on_offence: Callable[[], None] = lambda: None
    """Called when there is something to keep at once."""
    on_pong: Callable[[Announcement, Pong], None] = lambda _record, _pong: None
    """Called with each answer of a server."""
    _round_trips: dict[ServerLife, _Measurement] = field(default_factory=dict)
    _last_pings: dict[ServerLife, _LastPing] = field(default_factory=dict)
    _pings: dict[ServerLife, asyncio.Task[None]] = field(default_factory=dict)  # under way
    _nursery: Nursery = field(default_factory=Nursery)
    _avoided: dict[ServerLife, _Avoided] = field(default_factory=dict)
    _doubted: dict[ServerLife, float] = field(default_factory=dict)  # until
    _broken_links: dict[tuple[PeerId, PeerId], float] = field(default_factory=dict)  # until
    _paces: dict[ServerLife, _Pace] = field(default_factory=dict)
    _suspicions: dict[PeerId, _Suspicion] = field(default_factory=dict)
    _failures: dict[ServerLife, int] = field(default_factory=dict)  # since it last worked
    _leaving: dict[ServerLife, float] = field(default_factory=dict)  # when they have to be gone

    def avoid(
        self, life: ServerLife, seconds: float, why: Why = Why.FAILED, *, cache_tokens: int = 0
    ) -> None:
        """Give this server no new place in routes for a while.

        If it lacked the room for a session of so many `cache_tokens`, smaller sessions may still ask it.
        If it gets one soon after that and fails again, it is doubted as well: one that refuses and says "come
        back at once" would be asked again and again, however many others there are.
        """
        last = self._avoided.get(life)
        if last is not None and 0 <= _now() - last.until < _AGAIN_SECONDS:
            self._doubted[life] = _now() + seconds + _AGAIN_SECONDS
        from_tokens = cache_tokens if why in LACKS_ROOM else 0
        self._avoided[life] = _Avoided(_now() + seconds, why, from_tokens)
        self._round_trips.pop(life, None)

    def doubt(self, life: ServerLife, seconds: float, *, is_failure: bool = False) -> None:
        """Give this server a new place for a while only if there is no other, and if it answers a ping.

        `is_failure` says that it failed in a session: each further time counts twice as long.
        """
        if is_failure:
            times = self._failures[life] = self._failures.get(life, 0) + 1
            seconds = min(_MOST_DOUBTED_SECONDS, seconds * 2 ** min(10, times - 1))
        self._doubted[life] = _now() + seconds
        self._round_trips.pop(life, None)

    def offended(self, life: ServerLife, offence: Offence) -> None:
        """Remember what this server has done, beyond this process."""
        self.reputations.offended(life.peer_id, offence, self.unix_now())
        self._round_trips.pop(life, None)
        self.on_offence()

    def worked(self, life: ServerLife, steps: int) -> None:
        """Remember that it has answered so many steps in time: that clears it of suspicion."""
        self.reputations.work(life.peer_id, steps, self.unix_now())
        self._suspicions.pop(life.peer_id, None)
        self._failures.pop(life, None)

    def is_known(self, life: ServerLife) -> bool:
        """True if this server has worked for this client before, and nothing speaks against it."""
        return self.reputations.of(life.peer_id).is_known(self.unix_now()) and not self.is_doubted(life)

    def suspect(self, life: ServerLife, weight: float) -> None:
        """It took part in what went wrong, and nobody can tell whose fault that was."""
        weight = weight / 2 if self.is_known(life) else weight
        self._suspicions[life.peer_id] = _Suspicion(self.suspicion(life) + weight, _now())
        if len(self._suspicions) > _SUSPICIONS_BOUND:
            oldest = min(self._suspicions, key=lambda peer_id: self._suspicions[peer_id].at)
            del self._suspicions[oldest]

    def suspicion(self, life: ServerLife) -> float:
        """How often it has taken part lately: 1.0 is certain enough to replace it."""
        one = self._suspicions.get(life.peer_id)
        return 0.0 if one is None else one.weight * 0.5 ** ((_now() - one.at) / _SUSPECTED_SECONDS)

    def says_it_leaves(self, life: ServerLife, seconds: float) -> None:
        """Give it no new place for as long as it says that it takes to leave, if that can be true.

        One that is still there later, and says it again, makes its clients move for nothing.
        """
        seconds = seconds if 0 <= seconds <= _MOST_LEAVING_SECONDS else _MOST_LEAVING_SECONDS
        gone_at = self._leaving.setdefault(life, _now() + seconds + _AGAIN_SECONDS)
        if _now() > gone_at:
            del self._leaving[life]
            self.offended(life, Offence.LEFT_FALSELY)
        self.avoid(life, seconds, Why.LEAVING)

    def avoid_link(self, sender: PeerId, receiver: PeerId, seconds: float) -> None:
        """Don't make these two neighbours for a while, if there is another way.

        Either may be gone: each must answer a ping before it gets another place.
        """
        self._broken_links[(sender, receiver)] = _now() + seconds
        for life in [life for life in self._round_trips if life.peer_id in (sender, receiver)]:
            del self._round_trips[life]

    def measured(
        self,
        life: ServerLife,
        seconds_per_layer: float,
        context_tokens: int,
        *,
        rows: int = 1,
        is_slow: bool = False,
    ) -> None:
        """Note the seconds that a decode step of so many rows takes per layer, queue included.

        `context_tokens` is the context of all rows together. The seconds outweigh the record: for a minute,
        and for twice as long each time that the server `is_slow`.
        """
        last = self._paces.get(life)
        times = (0 if last is None else last.times) + is_slow
        lasts = min(_MOST_MEASURED_SECONDS, _MEASURED_SECONDS * 2 ** min(10, max(0, times - 1)))
        self._paces[life] = _Pace(seconds_per_layer, context_tokens, rows, _now(), lasts, times)

    def why_avoided(self, life: ServerLife, cache_tokens: int) -> Why | None:
        """Return why this server gets no new place in a session of this size; None if it may get one."""
        avoided = self._avoided.get(life)
        if avoided is None or avoided.until <= _now() or cache_tokens < avoided.from_tokens:
            return None
        return avoided.why

    def is_doubted(self, life: ServerLife) -> bool:
        """True if this server gets a new place only as a last resort."""
        return self._doubted.get(life, 0.0) > _now() or self.reputations.of(life.peer_id).is_doubted(
            self.unix_now()
        )

    def is_broken(self, sender: PeerId, receiver: PeerId) -> bool:
        """True if a message between these two was lost lately."""
        return self._broken_links.get((sender, receiver), 0.0) > _now()

    def broken_links(self) -> set[tuple[PeerId, PeerId]]:
        """Sender and receiver of every link on which a message was lost lately."""
        return {link for link, until in self._broken_links.items() if until > _now()}

    def has_pace(self, life: ServerLife) -> bool:
        """True if this client has measured the server's steps lately, queue included."""
        pace = self._paces.get(life)
        return pace is not None and _now() - pace.at <= pace.lasts_seconds

    def seconds_per_layer(
        self,
        record: Announcement,
        context_tokens: float,
        *,
        rows: int = 1,
        believed: tuple[LayerSeconds, LayerSeconds] | None = None,
    ) -> float | None:
        """Return the seconds that a decode step of so many rows takes per layer. None: unknown.

        `context_tokens` is the context of all rows together. What was measured here lately counts; else what
        is `believed` of the server, decode and prefill; None: all that it announces. Both are moved to the
        asked context along the announced line, and each further row costs as much as a token of a prefill,
        which shares the reading of the weights as well. So a long text, or a large batch, doesn't make its
        servers look slow to others.
        """
        decode, prefill = (record.decode, record.prefill) if believed is None else believed
        a_row = min(prefill.first or decode.first, decode.first)
        pace = self._paces.get(life_of(record))
        if pace is None or not self.has_pace(life_of(record)):
            alone = decode.after(context_tokens)
            return alone + (rows - 1) * a_row if decode.first else None
        further = (context_tokens - pace.context_tokens) / 1024 * decode.per_1024
        further += (rows - pace.rows) * a_row
        return max(pace.seconds_per_layer + further, decode.first)

    def round_trip(self, life: ServerLife) -> float:
        """Return the last measured round trip in seconds; 0 if there is none."""
        measurement = self._round_trips.get(life)
        return measurement.seconds if measurement else 0.0

    def answered(self, life: ServerLife, within_seconds: float) -> bool:
        """True if this server has answered a ping within the last `within_seconds`."""
        measurement = self._round_trips.get(life)
        return measurement is not None and _now() - measurement.at < within_seconds

    def standing(self, life: ServerLife, fresh_seconds: float) -> Standing:
        """Return what the pings say of this server.

        An answer is fresh for `fresh_seconds`, or until the server is reached in another way. It still counts
        then, but the server is pinged again.
        """
        if self.is_doubted(life):
            return Standing.DOUBTED
        if self.answered(life, fresh_seconds) and not self._has_other_way(life):
            return Standing.FRESH
        last = self._last_pings.get(life)
        if last is None:
            return Standing.NEW
        return Standing.SILENT if last.pong is None else Standing.ANSWERED

    def _has_other_way(self, life: ServerLife) -> bool:
        """True if the server is connected in another way than the one that was measured."""
        measured = self._round_trips[life].way
        if measured is None:
            return False
        return self.carrier.way_to(life.peer_id) not in (None, measured)

    def usual_round_trip(self, life: ServerLife) -> float:
        """Return the round trip of its last answer in seconds, also after a failure; 0 if there is none."""
        last = self._last_pings.get(life)
        return last.pong.seconds if last is not None and last.pong is not None else 0.0

    def load(self, record: Announcement) -> Load:
        """Return the server's load: what it last said, to a ping or in its record."""
        last = self._last_pings.get(life_of(record))
        if last is None or last.pong is None or record.announced_at > last.announced_at:
            return Load(record.queue_depth, record.free_cache_tokens)
        return Load(last.pong.queue_depth, last.pong.free_cache_tokens)

    @property
    def pings_under_way(self) -> int:
        """How many servers have been pinged and have neither answered nor failed."""
        return len(self._pings)

    def forget_strangers(self, known: Container[ServerLife]) -> None:
        """Drop what is remembered of lives that have ended: those not `known`, after a while."""
        before = _now() - _REMEMBERED_SECONDS
        for life in [life for life, last in self._last_pings.items() if last.at < before]:
            if life not in known:
                for memory in (self._last_pings, self._round_trips, self._paces, self._failures):
                    memory.pop(life, None)
        self._leaving = {life: at for life, at in self._leaving.items() if at > before}
        self._avoided = {life: what for life, what in self._avoided.items() if what.until > before}
        self._doubted = {life: until for life, until in self._doubted.items() if until > before}
        self._broken_links = {link: until for link, until in self._broken_links.items() if until > before}

    def ping(self, record: Announcement) -> asyncio.Task[None]:
        """Measure the round trip to a server, or go on if that is under way. No answer makes it doubted."""
        life = life_of(record)
        task = self._pings.get(life)
        if task is None:
            task = self._nursery.start(self._measure(record))
            self._pings[life] = task
            task.add_done_callback(lambda _: self._pings.pop(life, None))
        return task

    async def close(self) -> None:
        """Stop measuring."""
        await self._nursery.close()

    async def _measure(self, record: Announcement) -> None:
        address = record.address
        life, pong = life_of(record), None
        try:
            async with asyncio.timeout(_PING_SECONDS):
                pong = await self.carrier.ping(address)
        except (HopFailedError, RefusedError, TimeoutError):
            self.doubt(life, _UNREACHABLE_SECONDS)
        else:
            self._round_trips[life] = _Measurement(pong.seconds, _now(), pong.way)
            self.on_pong(record, pong)
        self._last_pings[life] = _LastPing(pong, _now(), record.announced_at)


def life_of(record: Announcement) -> ServerLife:
    """Return the life of the server that this record describes."""
    return ServerLife(record.peer_id, record.certificate)


def _now() -> float:
    return asyncio.get_running_loop().time()
