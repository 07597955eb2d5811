"""Holds a machine below a cap in watts, by the share of the time in which the engine may compute. Pure.

This share is the duty. The watts grow with the duty, starting at what the machine draws without us. Neither
that start nor the slope is known, and both change with the weather. So the duty is multiplied: if the watts
are above the cap, by the excess, and at least by 0.9; if they are too low, by 1.1 at most. Between 90 % of
the cap and the cap nothing changes. A step down never falls through this band, and a step up never passes
its middle. So the watts of every machine that doesn't change reach the band and stay there. Noise above the
cap is cut at once and comes back slowly: the mean stays below the cap.
"""

from __future__ import annotations

MIN_DUTY = 0.05
"""With a lower duty the steps of a session take longer than clients wait. If the watts are above the cap even
so, the server has to stop: the machine, or another program, draws that much without us."""

_BAND = 0.9  # of the cap: the lower end of the band
_AIM = 0.95
_LEAST_CUT = 0.9
_MOST_RISE = 1.1
_HELD_BACK = 0.8  # of the duty: an engine that computed less than this had too little work


def first_duty(*, cap: float, idle_watts: float, full_watts: float, least: float = MIN_DUTY) -> float:
    """A first guess from the watts of the idle machine and of the machine at full speed.

    >>> first_duty(cap=40.0, idle_watts=20.0, full_watts=60.0)
    0.5
    """
    if cap >= full_watts:
        return 1.0
    return max(least, (cap - idle_watts) / (full_watts - idle_watts)) if cap > idle_watts else least


def next_duty(
    duty: float,
    *,
    watts: float,
    cap: float,
    used: float | None = None,
    most: float = 1.0,
    least: float = MIN_DUTY,
) -> float:
    """The duty until the next measurement, between `least` and `most` (which other rules may set).

    `watts` is the mean since the last call. `used` is the fraction of that time in which the engine did
    compute (None: as much as it was allowed to). Watts that are low because of little work don't raise the
    duty, so that sudden work finds the right duty. Call this every few seconds, with the duty in force.
    """
    if not watts <= cap:  # not a number counts as too much
        factor = min(_LEAST_CUT, _AIM * cap / watts) if watts > cap else _LEAST_CUT
    elif watts < _BAND * cap and (used is None or used >= _HELD_BACK * duty):
        factor = min(_MOST_RISE, _AIM * cap / watts) if watts > 0 else _MOST_RISE
    else:
        factor = 1.0
    return max(min(least, most), min(most, duty * factor))
