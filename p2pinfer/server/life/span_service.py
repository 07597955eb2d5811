"""Serving one loaded span: what the server says of itself, how it takes sessions, and how it leaves."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2pinfer.model.engine.base import Engine
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.budget import default_cache_tokens, history_bytes_per_token
from p2pinfer.server.compute.speed import Speed
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.door.admission import Load
from p2pinfer.server.door.handler import Handler
from p2pinfer.server.door.listeners import Reachable
from p2pinfer.server.door.reception import Reception
from p2pinfer.server.housekeeping.ready_server import ReadyServer
from p2pinfer.server.layers.announcing import Heartbeats, announce_first, withdraw
from p2pinfer.server.layers.being_found import watch_being_found
from p2pinfer.server.layers.mover import Mover
from p2pinfer.server.life.draining import SETTLE_SECONDS, counted, drain
from p2pinfer.server.life.reach_news import tell_reach_forever
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.machine.memory import available_memory_bytes, give_back_forever
from p2pinfer.server.neighbours.neighbours import Neighbours
from p2pinfer.server.neighbours.roster import Roster
from p2pinfer.server.placement.moving import Move
from p2pinfer.server.sessions.accounts import Accounts
from p2pinfer.server.sessions.idle_measurement import IdleMeasurement
from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.swarm.reach.report import ReachReport
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import all_of, ending, first_of
from p2pinfer.types import short_id
from p2pinfer.wire.status import Reason, Refused

LEAVE_SECONDS = 2.0
"""How long open calls have to tell their clients why they end."""

MOVE_DRAIN_SECONDS = 20.0
"""How long a server that moves waits for its sessions at most: other layers wait for it."""
GAP_DRAIN_SECONDS = 5.0
"""The same if those layers have no server: most sessions stand still until it is there, and can't move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSpan:
    """Layers that this server has claimed and loaded."""

    manifest: Manifest
    claim: Announcement
    engine: Engine
    speed: Speed
    holds_ends: Callable[[], bool]
    """Whether this server can give others what clients need."""
    make_mover: Callable[[Callable[[], float]], Mover] | None = None
    """Makes what decides when it goes to other layers, from its seconds per layer. None: it never does."""


class SpanService:
    """Serves the sessions of a loaded span, from its first announcement to its withdrawal.

    For the event loop. `run` is called once.
    """

    def __init__(
        self,
        config: ServerConfig,
        swarm: Swarm,
        span: LoadedSpan,
        accounts: Accounts,
        period: ServingPeriod,
        roster: Roster,
    ) -> None:
        self._config = config
        self._swarm = swarm
        self._span = span
        self._period = period
        self._sessions = SessionTable(
            span.engine,
            cache_tokens=cache_tokens(config, span.engine),
            idle_seconds=config.idle_seconds,
            accounts=accounts,
        )
        self._batcher = Batcher(span.engine, span.speed)
        self._runner = SessionRunner(self._batcher, asyncio.get_running_loop())
        self._sessions.leave_rest_to(self._runner.limit_prefixes)
        self._idle = IdleMeasurement(self._sessions, self._runner, self._batcher, span.engine)
        us = dataclasses.replace(span.claim, numerics=span.engine.numerics)
        self._neighbours = Neighbours(us, roster, swarm.ways, swarm.position)
        self._leaves_at: float | None = None  # Unix seconds; set when draining begins
        self._mover = None if span.make_mover is None else span.make_mover(self._seconds_per_layer)
        self.move: Move | None = None
        """Where the server goes, if that is why the service has ended."""

    async def run(self, reception: Reception, reachable: Reachable) -> None:
        """Take sessions, announce, and serve until the period ends; let sessions move, and end the rest.

        Ends as well when the server goes to other layers: then `move` is set, and the record stays. The first
        task that fails ends the service with its error. Raises P2PInferError for what the owner can mend.
        """
        swarm = self._swarm
        handler = Handler(
            self._sessions, self._runner, self._load, ways=swarm.ways, sources_of=reachable.sources_of
        )
        with self._runner:
            async with reception.attached(handler, self._runner.adopt, LEAVE_SECONDS):
                describe = partial(self._describe, reachable)
                reach = partial(_reach_of, swarm, reachable)
                await announce_first(swarm, describe)
                heartbeats = Heartbeats(swarm, describe, self._config.heartbeat_seconds)
                try:
                    self._become_ready(heartbeats, reach)
                    await first_of(
                        self._drain_when_asked(heartbeats),
                        self._drain_when_moving(heartbeats, lambda: swarm.announce(describe())),
                        heartbeats.beat_forever(),
                        heartbeats.announce_news(),
                        watch_being_found(swarm, self._span.claim.model, heartbeats.announce_soon),
                        handler.tell_ways_forever(),
                        self._neighbours.measure_forever(),
                        self._idle.measure_forever(),
                        tell_reach_forever(self._period.reach_news, reach, self._period.say),
                        self._sessions.expire_forever(),
                        self._runner.expire_prefixes_forever(),
                        give_back_forever(),
                        self._runner.wait_failed(),
                    )
                    await self._leave(describe())
                finally:
                    self._period.server = None

    def _become_ready(self, heartbeats: Heartbeats, reach: Callable[[], ReachReport]) -> None:
        span, sessions = self._span, self._sessions
        self._period.server = ReadyServer(
            layers=span.claim.layers,
            model_name=span.manifest.name,
            sessions=sessions,
            runner=self._runner,
            reach=reach,
            daemon_pid=lambda: self._swarm.daemon_pid,
            announce_soon=heartbeats.announce_soon,
        )
        is_new, self._period.has_served = not self._period.has_served, True
        self._period.ready.set()
        if is_new and self._config.initial_peers and self._swarm.reaching.verdict.is_dialable:
            # The swarm's founder has said so already, and may be gone when somebody wants to join.
            self._period.say(f"others join here, too: --initial-peers {' '.join(self._swarm.addresses)}")
        self._period.say(
            f"ready: layers {span.claim.layers} of {span.manifest.num_layers}, "
            f"peer {short_id(self._swarm.peer_id)}, {span.engine.numerics}, "
            f"{span.engine.weight_bytes / 1e6:.0f} MB of weights, {sessions.cache_tokens} cache tokens"
        )

    async def _drain_when_asked(self, heartbeats: Heartbeats) -> None:
        """Return when the period is stopping and open sessions have moved, or had their time to."""
        period = self._period
        await period.stopping.wait()
        seconds = period.drain_seconds()
        self._leaves_at = time.time() + seconds
        if len(self._sessions):  # without sessions the next announcement is the withdrawal
            heartbeats.announce_soon()
        await drain(self._sessions, seconds, period.leaving, period.say)

    async def _drain_when_moving(
        self, heartbeats: Heartbeats, announce: Callable[[], Coroutine[Any, Any, object]]
    ) -> None:
        """Return when other layers need this server more, and open sessions have moved, or had time to.

        Never when the owner ends the period, before or meanwhile.
        """
        period = self._period
        if self._mover is None:
            await asyncio.Event().wait()
            return
        async with ending(asyncio.create_task(self._mover.wait(announce))) as going:
            await first_of(asyncio.wait({going}), period.stopping.wait())
        if period.stopping.is_set():  # where others need it doesn't matter any more
            await asyncio.Event().wait()
        move = going.result()
        patience = GAP_DRAIN_SECONDS if move.gaps else MOVE_DRAIN_SECONDS
        seconds = min(patience, period.drain_seconds())
        self._leaves_at = time.time() + seconds
        heartbeats.announce_soon()
        await drain(self._sessions, seconds, period.leaving, period.say)
        if period.stopping.is_set():  # the owner ends it meanwhile: sessions have all the time that he gives
            await asyncio.Event().wait()
        self.move = move

    async def _leave(self, last_record: Announcement) -> None:
        """End the sessions that are left, withdraw the record unless it moves, wait for the last receipts."""
        number, accounts = len(self._sessions), self._sessions.accounts
        self._sessions.end_all(Refused(Reason.LEAVING, "the server is leaving: move to another"))
        if number or self.move is None:
            self._period.say(f"leaving: {counted(number, 'session is told', 'sessions are told')}")
        works = [accounts.wait_settled(SETTLE_SECONDS)]
        if self.move is None:
            works.append(withdraw(self._swarm, last_record))
        await all_of(*works)

    def _seconds_per_layer(self) -> float:
        """What a token takes in a layer here, with the pauses that the owner's limits make."""
        return self._batcher.rates.decode.first / self._runner.duty

    def _load(self) -> Load:
        """What admission decides by."""
        span, sessions = self._span, self._sessions
        return Load(
            peer_id=self._swarm.peer_id,
            model=span.manifest.hash,
            numerics=span.engine.numerics,
            layers=span.claim.layers,
            max_positions=span.manifest.max_positions,
            cache_tokens=sessions.cache_tokens,
            free_cache_tokens=sessions.free_cache_tokens,
            patient_tokens=sessions.patient_tokens,
            sessions=len(sessions),
            draining=self._period.stopping.is_set() or self._leaves_at is not None,
        )

    def _describe(self, reachable: Reachable) -> Announcement:
        """The record as it is now."""
        leaves_at, runner, batcher, now = self._leaves_at, self._runner, self._batcher, time.time()
        mover = None if self._period.stopping.is_set() else self._mover  # who leaves goes nowhere else
        return dataclasses.replace(
            self._span.claim,
            state=ServerState.SERVING if leaves_at is None else ServerState.DRAINING,
            leaves_at=self._period.ends_at() if leaves_at is None else leaves_at,
            moves_to=None if mover is None else mover.moves_to,
            is_undecided=mover is not None and mover.is_undecided,
            numerics=self._span.engine.numerics,
            holds_ends=self._span.holds_ends(),
            endpoints=reachable.endpoints,
            certificate=reachable.certificate.der,
            decode=batcher.rates.decode.times(1 / runner.duty),
            prefill=batcher.rates.prefill.times(1 / runner.duty),
            measured_at=batcher.rates.decode_measured_at,
            prefill_measured_at=batcher.rates.prefill_measured_at,
            batch_costs=self._span.speed.measured_costs,
            queue_depth=runner.queue_depth,
            free_cache_tokens=self._sessions.obtainable_tokens,
            next_hop_seconds=self._neighbours.next_hop_seconds(),
            announced_at=now,
            expires_at=now + self._config.record_seconds,
        )


def _reach_of(swarm: Swarm, reachable: Reachable) -> ReachReport:
    """How others reach this server; its own endpoints are in it unless the swarm knows better."""
    report = swarm.reach()
    return report if report.endpoints else dataclasses.replace(report, endpoints=reachable.endpoints)


def cache_tokens(config: ServerConfig, engine: Engine) -> int:
    """How many tokens of cache all sessions share: what the owner says, or a part of the free memory."""
    if config.max_cache_tokens is not None:
        return config.max_cache_tokens
    return default_cache_tokens(
        bytes_per_token=engine.cache_bytes_per_token + history_bytes_per_token(engine.hidden_size),
        free_bytes=available_memory_bytes(),
    )
