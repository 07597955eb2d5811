"""Holding a machine below so many watts, by how much of the time the engine may compute. Pure.

Watts grow with the duty, from what the machine draws without us; neither that nor the slope is known, and
both change with the weather. So the duty is multiplied: too many watts by what is too much, and by a tenth
at least; too few by a tenth at most. Between nine tenths of the cap and the cap nothing changes. A step
down never falls through that band and a step up never climbs over its middle: whatever the machine is
like, as long as it stays so, the watts come into the band and stay there. What noise lifts above the cap
is cut at once and comes back slowly: the mean stays below.
"""

from __future__ import annotations

MIN_DUTY = 0.05
"""Below it a session waits longer for its steps than its client does. Who is above the cap even so has to
stop: the machine, or somebody else on it, draws that much without us."""

_BAND = 0.9  # of the cap: where the band that is good enough begins
_AIM = 0.95
_LEAST_CUT = 0.9
_MOST_RISE = 1.1
_HELD_BACK = 0.8  # of its duty: an engine that computed for less of the time was short of work


def first_duty(*, cap: float, idle_watts: float, full_watts: float, least: float = MIN_DUTY) -> float:
    """A guess to begin with: by what the machine should draw without us, and with us at full speed.

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

    `watts` is the mean since the last call, and `used` the fraction of that time that the engine did
    compute (None: all that it was allowed to): watts that are low because there was little to do don't
    raise the duty, so that work that comes suddenly finds the one that was right before. To be called
    every few seconds, with the duty that was in force.
    """
    if not watts <= cap:  # not a number counts as too much
        factor = min(_LEAST_CUT, _AIM * cap / watts) if watts > cap else _LEAST_CUT
    elif watts < _BAND * cap and (used is None or used >= _HELD_BACK * duty):
        factor = min(_MOST_RISE, _AIM * cap / watts) if watts > 0 else _MOST_RISE
    else:
        factor = 1.0
    return max(min(least, most), min(most, duty * factor))
