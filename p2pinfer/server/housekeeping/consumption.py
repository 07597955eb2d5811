"""What this server consumes, measured again and again, and written into the ledger in intervals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.owner.governor import Governor
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.metering.energy import Look, Meter, machine_watts
from p2pinfer.owner.policy.verdict import price_at
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.states import OwnerState
from p2pinfer.server.housekeeping.monthly_sharing import MonthlySharing
from p2pinfer.server.housekeeping.monthly_traffic import MonthlyTraffic
from p2pinfer.server.housekeeping.usage import Usage
from p2pinfer.server.machine.processors import processors
from p2pinfer.types import PeerId


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the machine drew between two measurements."""

    seconds: float  # without those in which the machine slept
    watts: float | None  # mean of the whole machine; None: unknown


class Consumption:
    """The counters of one server, over all its serving periods. For the event loop."""

    def __init__(
        self,
        peer_id: PeerId,
        ledger: LedgerWriter,
        governor: Governor,
        traffic: MonthlyTraffic,
        sharing: MonthlySharing,
        daemon_pid: Callable[[], int | None],
    ) -> None:
        self._ledger = ledger
        self._governor = governor
        self._traffic = traffic
        self._sharing = sharing
        self._usage = Usage(daemon_pid)
        self._last = self._interval_began = self._look()
        self._meter = Meter(peer_id, self._last, processors=processors())

    @property
    def interval_began_at(self) -> float:
        """Unix seconds: the end of the interval before."""
        return self._interval_began.at

    def measure(self) -> Drawn:
        """Look at the counters; the month's traffic includes what they show from now on."""
        policy, look = self._governor.policy, self._look()
        self._traffic.count(self._interval_began, look)
        before, self._last = self._last, look
        watts = machine_watts(
            before, look, watts_per_core=policy.watts_per_core, idle_watts=policy.idle_watts
        )
        return Drawn(look.awake_seconds - before.awake_seconds, watts)

    def end_interval(self, state: OwnerState, *, write: bool) -> None:
        """Begin a new interval. The one that ends was spent in `state`; it is written or dropped."""
        governor, look = self._governor, self._look()
        self._interval_began = look
        interval = self._meter.interval(
            look,
            state=state,
            watts_per_core=governor.policy.watts_per_core,
            idle_watts=governor.policy.idle_watts,
            price=price_at(governor.policy, governor.readings, now=look.at, zone=governor.zone),
            currency=governor.policy.currency,
        )
        if write:
            self._ledger.note(lambda ledger: ledger.add_interval(interval))
            self._traffic.written(interval)
            self._sharing.written(interval)

    def _look(self) -> Look:
        """The counters now, with the watts of the owner's meter while that is fresh."""
        reading = self._governor.readings.get(Signal.WATTS)
        fresh = reading is not None and time.time() - reading.at <= self._governor.policy.stale_seconds
        watts = float(reading.value) if reading is not None and fresh else None
        return self._usage.look(watts)
