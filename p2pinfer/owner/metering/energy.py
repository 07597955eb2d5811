"""What a server used between two looks at the counters, energy first of all. Pure.

What counts is the energy that the machine would not have used without the server. No meter shows that. So
the measured energy is shared out by computing time:

SIGNAL    The owner's meter shows the whole machine. The policy's `idle_watts` are subtracted. Of the rest we
          count our share of the processors' busy time.
RAPL      The processor's own counters, without memory, fans and power supply. What the packages draw in a
          quiet machine is subtracted. Of the rest we count our share of the busy time. Until the machine was
          seen quiet nothing is subtracted: better too much than too little.
ESTIMATE  Our computing time, times the policy's watts of a busy core. Knows no graphics card.

The first of these that is available is used. A clock may be set, and a machine may sleep, between two looks.
So durations are measured with a clock that is never set and that stands still during sleep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.metering.rapl import PackageEnergy, joules_drawn
from p2pinfer.types import PeerId

_CLOCK_TOLERANCE_SECONDS = 1.0
_QUIET_SHARE = 0.02
"""A machine is quiet if its processors are busy for less than this share of the time."""
_QUIET_SECONDS = 5.0
"""A shorter interval doesn't show that a machine is quiet: computing time is counted in ticks of 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The counters at one moment. Counters that only grow may start at any value."""

    at: float  # Unix seconds
    awake_seconds: float  # time.monotonic()
    cpu_seconds: float  # of this server and its p2pd
    busy_seconds: float  # of all processors, for all programs
    packages: tuple[PackageEnergy, ...] = ()  # empty: there is no readable RAPL
    watts: float | None = None  # the owner's meter; None: no meter, or a silent one
    sent_bytes: int = 0
    received_bytes: int = 0
    shared_bytes: int = 0  # of the sent ones: files of the model, given to others


def joules_between(
    before: Look, after: Look, *, watts_per_core: float, idle_watts: float, quiet_watts: float = 0.0
) -> tuple[float, EnergySource]:
    """Our share of the energy that the machine drew, and how it was measured.

    `watts_per_core` is what a busy core draws, `idle_watts` what the owner's meter shows for the idle
    machine, `quiet_watts` what all packages together draw in the quiet machine (0: unknown).
    """
    seconds = _awake_seconds(before, after)
    share = _share_of_busy_time(before, after)
    watts = _mean_watts(before, after)
    if watts is not None:
        return max(0.0, watts - idle_watts) * seconds * share, EnergySource.SIGNAL
    drawn = joules_drawn(before.packages, after.packages, seconds)
    if drawn is not None:
        return max(0.0, drawn - quiet_watts * seconds) * share, EnergySource.RAPL
    return _cpu_seconds(before, after) * watts_per_core, EnergySource.ESTIMATE


def machine_watts(before: Look, after: Look, *, watts_per_core: float, idle_watts: float) -> float | None:
    """What the whole machine drew on average, for a cap; None if no time has passed.

    Without the owner's meter this is an estimate, and at least what the packages show.
    """
    seconds = _awake_seconds(before, after)
    if seconds <= 0:
        return None
    watts = _mean_watts(before, after)
    if watts is not None:
        return watts
    busy = max(after.busy_seconds - before.busy_seconds, _cpu_seconds(before, after))
    drawn = joules_drawn(before.packages, after.packages, seconds) or 0.0
    return max(idle_watts + watts_per_core * busy / seconds, drawn / seconds)


def quiet_package_watts(before: Look, after: Look, *, processors: int) -> float | None:
    """What all packages together drew; None if the machine wasn't quiet, or if they can't be read."""
    seconds = _awake_seconds(before, after)
    busy = after.busy_seconds - before.busy_seconds
    if seconds < _QUIET_SECONDS or not 0 <= busy <= _QUIET_SHARE * seconds * processors:
        return None
    drawn = joules_drawn(before.packages, after.packages, seconds)
    return None if drawn is None else drawn / seconds


class Meter:
    """Turns every look at the counters into the interval since the last look."""

    def __init__(self, server: PeerId, first: Look, *, processors: int) -> None:
        self._server = server
        self._last = first
        self._processors = processors
        self._quiet_watts: float | None = None  # the least so far

    def interval(
        self,
        look: Look,
        *,
        state: str,
        watts_per_core: float,
        idle_watts: float,
        price: float | None,
        currency: str,
    ) -> Interval:
        """The interval from the last look to this one; `state` is the server's state in it."""
        before, self._last = self._last, look
        quiet = quiet_package_watts(before, look, processors=self._processors)
        if quiet is not None:
            self._quiet_watts = quiet if self._quiet_watts is None else min(quiet, self._quiet_watts)
        joules, source = joules_between(
            before,
            look,
            watts_per_core=watts_per_core,
            idle_watts=idle_watts,
            quiet_watts=self._quiet_watts or 0.0,
        )
        return Interval(
            server=self._server,
            started_at=_started_at(before, look),
            ended_at=look.at,
            state=state,
            joules=joules,
            energy_source=source,
            cpu_seconds=_cpu_seconds(before, look),
            price=price,
            currency=currency,
            sent_bytes=max(0, look.sent_bytes - before.sent_bytes),
            received_bytes=max(0, look.received_bytes - before.received_bytes),
            shared_bytes=max(0, look.shared_bytes - before.shared_bytes),
        )


def _started_at(before: Look, after: Look) -> float:
    """The end of the last interval. If the clock was set or the machine slept, the other clock says when."""
    seconds = _awake_seconds(before, after)
    passed = after.at - before.at
    if passed >= 0 and abs(passed - seconds) <= _CLOCK_TOLERANCE_SECONDS:
        return before.at
    return after.at - seconds


def _awake_seconds(before: Look, after: Look) -> float:
    return max(0.0, after.awake_seconds - before.awake_seconds)


def _cpu_seconds(before: Look, after: Look) -> float:
    return max(0.0, after.cpu_seconds - before.cpu_seconds)


def _share_of_busy_time(before: Look, after: Look) -> float:
    """Our share. 1 if the machine's counter contradicts ours, as after a processor was switched off."""
    ours = _cpu_seconds(before, after)
    busy = after.busy_seconds - before.busy_seconds
    if busy > ours:
        return ours / busy
    return 1.0 if ours > 0 else 0.0


def _mean_watts(before: Look, after: Look) -> float | None:
    known = [look.watts for look in (before, after) if look.watts is not None and math.isfinite(look.watts)]
    return sum(known) / len(known) if known else None
