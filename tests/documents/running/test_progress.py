"""Speeds and the time that is left."""

from __future__ import annotations

import pytest

from p2pinfer.documents.jobs.job import Counts, Spent
from p2pinfer.documents.running.progress import Meter, Progress


def test_a_speed_is_known_after_a_second():
    meter = Meter()
    assert meter.per_second() is None
    meter.note(10.0, documents=5, tokens=100)
    meter.note(10.5, documents=9, tokens=200)
    assert meter.per_second() is None
    meter.note(12.0, documents=9, tokens=400)
    assert meter.per_second() == (2.0, 150.0)


def test_the_window_forgets_what_was_before():
    """A pause of the swarm doesn't slow the estimate for ever; nor does memory grow."""
    meter = Meter()
    for second in range(1000):
        meter.note(float(second), documents=2 * max(0, second - 500), tokens=0)
    speeds = meter.per_second()
    assert speeds is not None and speeds[0] == pytest.approx(2.0)
    assert len(meter._samples) < 70


@pytest.mark.parametrize(("speed", "left"), [(4.0, 20.0), (0.0, None), (None, None)])
def test_the_time_left_follows_from_the_speed(speed: float | None, left: float | None):
    counts = Counts(total=100, completed=15, failed=5)
    progress = Progress(counts=counts, spent=Spent(), layers=1, under_way=3, documents_per_second=speed)
    assert progress.seconds_left == left
