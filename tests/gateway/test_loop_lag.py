"""How late the gateway's event loop is."""

from __future__ import annotations

import asyncio
import time

import pytest

from p2pinfer.gateway.loop_lag import watch_loop
from p2pinfer.gateway.metrics import Metrics

BLOCKED_SECONDS = 0.05


class EnoughError(Exception):
    """Ends the watch."""


async def test_work_that_blocks_the_loop_makes_it_late():
    def note(seconds: float) -> None:
        assert seconds >= BLOCKED_SECONDS / 2
        raise EnoughError

    asyncio.get_running_loop().call_soon(time.sleep, BLOCKED_SECONDS)
    with pytest.raises(EnoughError):
        await watch_loop(note, seconds=0.001)


def test_the_metrics_tell_how_late_the_loop_was():
    metrics = Metrics()
    metrics.loop_was_late(0.004)
    text = metrics.text()[0].decode()
    assert 'p2pinfer_gateway_loop_lag_seconds_bucket{le="0.002"} 0.0' in text
    assert 'p2pinfer_gateway_loop_lag_seconds_bucket{le="0.005"} 1.0' in text
