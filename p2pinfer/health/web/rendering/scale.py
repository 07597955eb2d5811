"""Where a layer is in the picture of a model's coverage. Pure.

Horizontal positions are percentages, so that a picture is as wide as the reader's screen without stretched
letters.
"""

from __future__ import annotations

from p2pinfer.health.snapshot.state import Activity

STATE_ORDER = {Activity.SERVING: 0, Activity.DRAINING: 1, Activity.JOINING: 2}

_MOST_PARTS = 120


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in percent, to three decimals."""
    return round(100 * part / whole, 3)


def parts(total: int) -> list[tuple[int, int]]:
    """The model's layers [start, end) in at most 120 parts of about equal size."""
    count = min(total, _MOST_PARTS)
    return [(index * total // count, (index + 1) * total // count) for index in range(count)]
