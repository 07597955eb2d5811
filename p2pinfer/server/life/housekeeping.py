"""Attends to a running server for its owner: its states, what it uses, the limits that it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from p2pinfer.errors import LedgerError
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.governor import Governor
from p2pinfer.owner.ledger.interval import Interval
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.metering.energy import Look, Meter, machine_watts
from p2pinfer.owner.metering.power_cap import MIN_DUTY, first_duty, next_duty
from p2pinfer.owner.policy.verdict import price_at
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import SignalLine, Status, write_status
from p2pinfer.server.compute.throttle import duty_for_share
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life.machine import processors
from p2pinfer.server.life.monthly_traffic import MonthlyTraffic
from p2pinfer.server.life.serving import Controls, Serving
from p2pinfer.server.life.usage import Usage
from p2pinfer.types import PeerId

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_IDLE_LOOK_SECONDS = 30.0  # while paused there is little to see
_INTERVAL_SECONDS = 300.0
_LEAST_MEASURED_SECONDS = 2.0  # shorter looks say little about watts


class Attendant:
    """One server's, over all its stays in the swarm. For the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        peer_id: PeerId,
        files: OwnerFiles,
        book: LedgerWriter,
        governor: Governor,
        traffic: MonthlyTraffic,
    ) -> None:
        self._config = config
        self._peer_id = peer_id
        self._files = files
        self._book = book
        self._governor = governor
        self._traffic = traffic
        self._controls: Controls | None = None
        self._usage = Usage(self._daemon_pid)
        self._written = self._last = self._look()
        self._meter = Meter(peer_id, self._written, processors=processors())
        self._state, self._since, self._words = OwnerState.OFF, time.time(), "it starts"
        self._model = config.model  # as it is called, once that is known
        self._watts: float | None = None
        self._capped_duty: float | None = None
        self._busy_seconds = 0.0  # of the runner there is, up to the last look
        self._beyond: str | None = None  # why the power cap isn't held, if it isn't
        self._news = asyncio.Event()
        governor.on_change = self._news.set  # limits may have changed: somebody has come to use the machine

    def enter(self, state: OwnerState, words: str) -> None:
        """The server is in another state now, for this reason."""
        self._words = words
        if state is not self._state:
            self._write_interval()
            self._state, self._since = state, time.time()
            peer_id, at = self._peer_id, self._since
            self._book.note(
                lambda ledger: ledger.add_transition(server=peer_id, at=at, state=state, words=words)
            )
        self._write_status()
        self._news.set()

    @contextmanager
    def serving(self, controls: Controls) -> Iterator[None]:
        """Attend to this stay, for as long as the block lasts."""
        self._interval()  # what was before is not this stay's
        self._capped_duty, self._busy_seconds = None, 0.0
        self._controls = controls
        try:
            yield
        finally:
            self._write_interval()
            self._controls = None

    async def attend_forever(self) -> None:
        """Hold the limits, and keep status and ledger up to date."""
        month = _month(self._governor)
        while True:
            seconds = _LOOK_SECONDS if self._controls is not None else _IDLE_LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            self._news.clear()
            self._measure()
            if time.time() - self._written.at >= _INTERVAL_SECONDS and self._controls is not None:
                self._write_interval()
            if (now := _month(self._governor)) != month:
                self._write_interval()
                month = now
                with contextlib.suppress(LedgerError):
                    await self._traffic.refresh()
            self._write_status()

    def _measure(self) -> None:
        """What was drawn since the last look, and how much traffic there was since the last interval."""
        policy, look = self._governor.policy, self._look()
        self._traffic.count(self._written, look)
        before, self._last = self._last, look
        watts = machine_watts(
            before, look, watts_per_core=policy.watts_per_core, idle_watts=policy.idle_watts
        )
        serving = None if self._controls is None else self._controls.serving
        if serving is not None:
            self._hold_limits(serving, watts, look.awake_seconds - before.awake_seconds)
        self._watts = watts if watts is not None else self._watts

    def _hold_limits(self, serving: Serving, watts: float | None, seconds: float) -> None:
        """Let the engine compute for as much of the time as the policy lets it."""
        limits, runner = self._governor.verdict.limits, serving.runner
        threads = self._config.threads or processors()
        duty = most = duty_for_share(limits.cpu_share, processors=processors(), threads=threads)
        busy, self._busy_seconds = runner.busy_seconds - self._busy_seconds, runner.busy_seconds
        if limits.watts is None:
            self._capped_duty = None
        elif self._capped_duty is None:
            policy = self._governor.policy
            full = policy.idle_watts + processors() * policy.watts_per_core
            duty = first_duty(cap=limits.watts, idle_watts=policy.idle_watts, full_watts=full)
            duty = self._capped_duty = min(most, duty)
        elif watts is not None and seconds >= _LEAST_MEASURED_SECONDS:
            duty = self._capped_duty = next_duty(
                self._capped_duty, watts=watts, used=busy / seconds, cap=limits.watts, most=most
            )
        else:
            duty = min(most, self._capped_duty)
        self._beyond = None
        if watts is not None and limits.watts is not None and watts > limits.watts and duty <= MIN_DUTY:
            self._beyond = f"{limits.watts:g} W can't be held: it draws {watts:.0f} W, hardly any of it ours"
        if duty != runner.duty:
            runner.set_duty(duty)
            serving.hasten()  # others count on what we have said of our speed

    def _look(self) -> Look:
        reading = self._governor.readings.get(Signal.WATTS)
        fresh = reading is not None and time.time() - reading.at <= self._governor.policy.stale_seconds
        watts = float(reading.value) if reading is not None and fresh else None
        return self._usage.look(watts)

    def _write_interval(self) -> None:
        """Into the ledger; while nothing runs there is nothing to write."""
        if self._controls is not None:
            interval = self._interval()
            self._book.note(lambda ledger: ledger.add_interval(interval))
            self._traffic.written(interval)

    def _interval(self) -> Interval:
        """What there was since the last one."""
        governor, look = self._governor, self._look()
        self._written = look
        return self._meter.interval(
            look,
            state=self._state,
            watts_per_core=governor.policy.watts_per_core,
            idle_watts=governor.policy.idle_watts,
            price=price_at(governor.policy, governor.readings, now=look.at, zone=governor.zone),
            currency=governor.policy.currency,
        )

    def _write_status(self) -> None:
        controls, governor = self._controls, self._governor
        serving = None if controls is None else controls.serving
        if serving is not None:
            self._model = serving.model_name
        status = Status(
            peer_id=self._peer_id,
            process=os.getpid(),
            written_at=time.time(),
            state=self._state,
            since=self._since,
            words=self._words,
            model=self._model,
            layers="" if serving is None else str(serving.layers),
            public_name=self._config.public_name,
            leaves_at=governor.verdict.leaves_at if self._state is OwnerState.SERVING else None,
            sessions=0 if serving is None else len(serving.sessions),
            unsigned_tokens=0 if serving is None else serving.sessions.accounts.unsigned_tokens,
            duty=1.0 if serving is None else serving.runner.duty,
            watts=self._watts if controls is not None else None,
            signals={
                signal: SignalLine(
                    value=reading.words or str(reading.value), at=reading.at, origin=reading.origin
                )
                for signal, reading in governor.readings.items()
            },
            troubles=dict(governor.troubles) | ({"power cap": self._beyond} if self._beyond else {}),
        )
        try:
            write_status(self._files.statuses, status)
        except OSError as error:
            logger.warning("the status can't be written: %s", error)

    def _daemon_pid(self) -> int | None:
        serving = None if self._controls is None else self._controls.serving
        return None if serving is None else serving.swarm.daemon_pid


def _month(governor: Governor) -> tuple[int, int]:
    now = datetime.now(governor.zone)
    return now.year, now.month
