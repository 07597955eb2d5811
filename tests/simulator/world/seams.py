"""Where simulated parts take the place of real ones, for as long as a run lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest.mock import patch

from tests.simulator.clock import Clock
from tests.simulator.network.dialling import lane_to
from tests.simulator.server.compute_thread import SimComputeThread


@contextlib.contextmanager
def simulated(clock: Clock) -> Iterator[None]:
    """Within this block, the simulator replaces time, the computing thread and the dialling of lanes."""
    with contextlib.ExitStack() as patches:
        for name, replacement in (
            ("p2pinfer.client.chain.hop.time", clock),
            ("p2pinfer.client.pay.settlement.time", clock),
            ("p2pinfer.server.door.handler.time", clock),
            ("p2pinfer.server.sessions.lease.time", clock),
            ("p2pinfer.server.sessions.session_table.time", clock),
            ("p2pinfer.server.streams.stream_driver.time", clock),
            ("p2pinfer.server.compute.batcher.time", clock),
            ("p2pinfer.server.compute.unsigned_work.time", clock),
            ("p2pinfer.server.sessions.session_runner.ComputeThread", SimComputeThread),
            ("p2pinfer.server.sessions.session_runner.time", clock),
            ("p2pinfer.server.sessions.next_hops.lane_to", lane_to),
            ("p2pinfer.server.sessions.next_hops.time", clock),
        ):
            patches.enter_context(patch(name, replacement))
        yield
