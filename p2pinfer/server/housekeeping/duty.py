"""How much of the time the engine may compute, by the owner's limits. Pure.

Two limits become one number, the duty cycle of the computing thread: a share of the processors becomes a duty
directly; a power cap is held by measuring (owner/metering/power_cap.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.owner.metering.power_cap import MIN_DUTY, first_duty, next_duty
from p2pinfer.owner.policy.verdict import Limits
from p2pinfer.server.compute.throttle import duty_for_share

LEAST_MEASURED_SECONDS = 2.0
"""A shorter measurement says little about watts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the decision needs to know of the machine."""

    processors: int
    threads: int  # that the engine computes with
    idle_watts: float
    watts_per_core: float

    @property
    def full_watts(self) -> float:
        """What the machine draws with all processors busy, by the owner's estimate."""
        return self.idle_watts + self.processors * self.watts_per_core


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured since the last decision."""

    seconds: float
    watts: float | None  # the machine's mean; None: unknown
    busy_seconds: float  # that the engine computed


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyDecision:
    """The duty from now on, 0 < duty <= 1."""

    duty: float
    capped_duty: float | None  # what the power cap alone asks for; None: there is no cap
    trouble: str | None  # for the owner: why the cap isn't held; None: it is held, or there is none


def decide_duty(
    capped_duty: float | None, limits: Limits, machine: Machine, measured: Measured
) -> DutyDecision:
    """Return the duty that keeps both limits. `capped_duty` is that of the last decision; at first None.

    Under a new cap the duty begins with an estimate and then follows what is measured.
    """
    most = duty_for_share(limits.cpu_share, processors=machine.processors, threads=machine.threads)
    cap, watts = limits.watts, measured.watts
    if cap is None:
        return DutyDecision(duty=most, capped_duty=None, trouble=None)
    if capped_duty is None:
        guess = first_duty(cap=cap, idle_watts=machine.idle_watts, full_watts=machine.full_watts)
        duty = capped_duty = min(most, guess)
    elif watts is not None and measured.seconds >= LEAST_MEASURED_SECONDS:
        used = measured.busy_seconds / measured.seconds
        duty = capped_duty = next_duty(capped_duty, watts=watts, used=used, cap=cap, most=most)
    else:
        duty = min(most, capped_duty)
    trouble = None
    if watts is not None and watts > cap and duty <= MIN_DUTY:
        trouble = f"{cap:g} W can't be held: the machine draws {watts:.0f} W, hardly any of it for p2pinfer"
    return DutyDecision(duty=duty, capped_duty=capped_duty, trouble=trouble)
