"""Looks after a running server for its owner: its limits, its state, what it consumes, its status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from p2pinfer.errors import LedgerError
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.governor import Governor
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import SignalLine, Status, write_status
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.housekeeping.consumption import Consumption
from p2pinfer.server.housekeeping.duty_control import DutyControl
from p2pinfer.server.housekeeping.monthly_sharing import MonthlySharing
from p2pinfer.server.housekeeping.monthly_traffic import MonthlyTraffic
from p2pinfer.server.housekeeping.ready_server import ReadyServer
from p2pinfer.swarm.reach.report import as_plain, reached_in_words, relaying_in_words
from p2pinfer.types import PeerId

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_IDLE_LOOK_SECONDS = 30.0  # while paused there is little to see
_INTERVAL_SECONDS = 300.0
_SHARED_BYTES = 50_000_000
"""An interval ends earlier when this much was shared in it: other servers of the owner know of it then."""
_SHARING_SECONDS = 60.0  # how often to ask the ledger what other servers have shared


class Period(Protocol):
    """The part of a serving period that housekeeping sees."""

    @property
    def server(self) -> ReadyServer | None:
        """The server while it is in the swarm with its layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupation:
    """What the server is doing, since when, and why."""

    state: OwnerState
    since: float  # Unix seconds
    words: str


class Housekeeping:
    """One server's, over all its serving periods. For the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        peer_id: PeerId,
        files: OwnerFiles,
        ledger: LedgerWriter,
        governor: Governor,
        traffic: MonthlyTraffic,
        sharing: MonthlySharing,
    ) -> None:
        self._config = config
        self._peer_id = peer_id
        self._files = files
        self._ledger = ledger
        self._governor = governor
        self._traffic = traffic
        self._sharing = sharing
        self._asked_at = time.monotonic()  # what other servers have shared
        self._period: Period | None = None
        self._consumption = Consumption(peer_id, ledger, governor, traffic, sharing, self._daemon_pid)
        self._duty_control = DutyControl(config.threads)
        self._occupation = Occupation(state=OwnerState.OFF, since=time.time(), words="it starts")
        self._model = config.model or ""  # the name of the model as soon as it is known
        self._watts: float | None = None
        self._news = asyncio.Event()
        governor.on_change = self._news.set  # limits may have changed: somebody begins to use the machine

    def enter(self, state: OwnerState, words: str) -> None:
        """Note that the server is in this state from now on, and why."""
        before, now = self._occupation, time.time()
        if state is before.state:
            self._occupation = Occupation(state=state, since=before.since, words=words)
        else:
            self._write_interval()
            self._occupation = Occupation(state=state, since=now, words=words)
            peer_id = self._peer_id
            self._ledger.note(
                lambda ledger: ledger.add_transition(server=peer_id, at=now, state=state, words=words)
            )
        self._write_status()
        self._news.set()

    @contextmanager
    def attending(self, period: Period) -> Iterator[None]:
        """Look after the server of this period, for as long as the block lasts."""
        self._consumption.end_interval(self._occupation.state, write=False)  # the pause before it
        self._duty_control = DutyControl(self._config.threads)
        self._period = period
        try:
            yield
        finally:
            self._write_interval()
            self._period = None

    async def run_forever(self) -> None:
        """Hold the limits, and keep status and ledger up to date."""
        month = self._month()
        while True:
            seconds = _LOOK_SECONDS if self._period is not None else _IDLE_LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            self._news.clear()
            self.hold_limits()
            is_long = time.time() - self._consumption.interval_began_at >= _INTERVAL_SECONDS
            if is_long or self._sharing.unwritten_bytes >= _SHARED_BYTES:
                self._write_interval()
            if (now := self._month()) != month:
                self._write_interval()
                month = now
                with contextlib.suppress(LedgerError):
                    await self._traffic.refresh()
                    await self._sharing.refresh()
            elif time.monotonic() - self._asked_at >= _SHARING_SECONDS:
                self._asked_at = time.monotonic()
                with contextlib.suppress(LedgerError):
                    await self._sharing.refresh()
            self._write_status()

    def hold_limits(self) -> None:
        """Measure, and let the engine compute for as much of the time as the owner allows."""
        drawn = self._consumption.measure()
        server = self._server
        if server is not None:
            self._duty_control.hold(server, self._governor.verdict.limits, self._governor.policy, drawn)
        self._watts = drawn.watts if drawn.watts is not None else self._watts

    @property
    def _server(self) -> ReadyServer | None:
        return None if self._period is None else self._period.server

    def _daemon_pid(self) -> int | None:
        server = self._server
        return None if server is None else server.daemon_pid()

    def _month(self) -> tuple[int, int]:
        now = datetime.now(self._governor.zone)
        return now.year, now.month

    def _write_interval(self) -> None:
        """While nothing runs there is nothing to write."""
        if self._period is not None:
            self._consumption.end_interval(self._occupation.state, write=True)

    def _write_status(self) -> None:
        try:
            write_status(self._files.statuses, self.status())
        except OSError as error:
            logger.warning("the status can't be written: %s", error)

    def status(self) -> Status:
        """The server as its owner sees it now."""
        server, governor, occupation = self._server, self._governor, self._occupation
        if server is not None:
            self._model = server.model_name
        trouble = None if server is None else self._duty_control.trouble
        reach = None if server is None else server.reach()
        return Status(
            peer_id=self._peer_id,
            process=os.getpid(),
            written_at=time.time(),
            state=occupation.state,
            since=occupation.since,
            words=occupation.words,
            model=self._model,
            layers="" if server is None else str(server.layers),
            public_name=self._config.public_name,
            leaves_at=governor.verdict.leaves_at if occupation.state is OwnerState.SERVING else None,
            sessions=0 if server is None else len(server.sessions),
            unsigned_tokens=0 if server is None else server.sessions.accounts.unsigned_tokens,
            duty=1.0 if server is None else server.runner.duty,
            reached="" if reach is None else reached_in_words(reach),
            relaying="" if reach is None else relaying_in_words(reach),
            reach={} if reach is None else as_plain(reach),
            shared_bytes=self._sharing.total_bytes,
            watts=self._watts if self._period is not None else None,
            signals={
                signal: SignalLine(
                    value=reading.words or str(reading.value), at=reading.at, origin=reading.origin
                )
                for signal, reading in governor.readings.items()
            },
            troubles=dict(governor.troubles) | ({"power cap": trouble} if trouble else {}),
        )
