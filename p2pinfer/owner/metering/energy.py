"""From two looks at the counters to what the time between them has cost: energy first of all.

What counts is what the owner would not have used otherwise, and no meter shows that. So what is measured
is shared out by computing time:

SIGNAL    the owner's meter shows the whole machine. What it draws when nobody uses it (the policy's
          `idle_watts`) isn't ours; of the rest, our part of the time that its processors were busy.
RAPL      the processor's own counters, without memory, fans and power supply. Of what they show, less what
          the packages draw in a quiet machine, again our part of the busy time. Until this machine was
          seen quiet nothing is taken off: rather too much than too little.
ESTIMATE  our computing time, times what the policy says that a busy core draws. Knows no graphics card.

The better one that can be had is taken. Clocks may be set and machines may sleep between two looks: what
lasts is measured by a clock that nobody sets and that stands still in sleep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.metering.rapl import PackageEnergy, joules_drawn
from p2pinfer.types import PeerId

_CLOCK_TOLERANCE_SECONDS = 1.0
_QUIET_SHARE = 0.02
"""A machine whose processors are busy for less of the time is quiet."""
_QUIET_SECONDS = 5.0
"""Nothing is called quiet by a shorter look: computing time is counted in ticks of 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The counters at one moment. Those that only grow begin anywhere."""

    at: float  # Unix seconds
    awake_seconds: float  # time.monotonic()
    cpu_seconds: float  # of this server and its p2pd
    busy_seconds: float  # of all processors, whoever has used them
    packages: tuple[PackageEnergy, ...] = ()  # none: there is no RAPL that can be read
    watts: float | None = None  # the owner's meter; None: there is none, or it is silent
    sent_bytes: int = 0
    received_bytes: int = 0


def joules_between(
    before: Look, after: Look, *, watts_per_core: float, idle_watts: float, quiet_watts: float = 0.0
) -> tuple[float, EnergySource]:
    """Our part of the energy that the machine drew, and how it was found out.

    `watts_per_core` is a busy core's, `idle_watts` the idle machine's as its owner's meter shows it,
    `quiet_watts` those of all packages together while the machine is quiet (0: unknown).
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
    """What the whole machine drew on average, to hold a cap by; None if no time has passed.

    Without the owner's meter it is estimated, and is at least what the packages say.
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
    """What all packages together drew, if the machine was quiet meanwhile and they can be read."""
    seconds = _awake_seconds(before, after)
    busy = after.busy_seconds - before.busy_seconds
    if seconds < _QUIET_SECONDS or not 0 <= busy <= _QUIET_SHARE * seconds * processors:
        return None
    drawn = joules_drawn(before.packages, after.packages, seconds)
    return None if drawn is None else drawn / seconds


class Meter:
    """Turns every look into the interval since the one before."""

    def __init__(self, server: PeerId, first: Look, *, processors: int) -> None:
        self._server = server
        self._last = first
        self._processors = processors
        self._quiet_watts: float | None = None  # the least that was seen

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
        """What was between the last look and this one, when the server was in that state."""
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
        )


def _started_at(before: Look, after: Look) -> float:
    """Where the interval before ended; by the other clock if this one was set, or the machine slept."""
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
    """All of it where the machine's counter contradicts ours, as when a processor was taken out of it."""
    ours = _cpu_seconds(before, after)
    busy = after.busy_seconds - before.busy_seconds
    if busy > ours:
        return ours / busy
    return 1.0 if ours > 0 else 0.0


def _mean_watts(before: Look, after: Look) -> float | None:
    known = [look.watts for look in (before, after) if look.watts is not None and math.isfinite(look.watts)]
    return sum(known) / len(known) if known else None
