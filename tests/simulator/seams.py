"""Where simulated parts take the place of real ones, for as long as a run lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest.mock import patch

from tests.simulator.clock import Clock
from tests.simulator.dialling import lane_to
from tests.simulator.worker import SimWorker


@contextlib.contextmanager
def simulated(clock: Clock) -> Iterator[None]:
    """Time, the computing thread and the dialling of lanes are the simulator's within this block."""
    with contextlib.ExitStack() as patches:
        for name, replacement in (
            ("p2pinfer.client.hop.time", clock),
            ("p2pinfer.server.handler.time", clock),
            ("p2pinfer.server.sessions.time", clock),
            ("p2pinfer.server.batcher.time", clock),
            ("p2pinfer.server.runner.Worker", SimWorker),
            ("p2pinfer.server.next_hops.lane_to", lane_to),
        ):
            patches.enter_context(patch(name, replacement))
        yield
