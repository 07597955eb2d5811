"""The seconds of a client's steps: in all, and in the servers' engines and queues."""

from __future__ import annotations

import time
from typing import Any

from p2pinfer.client.session import InferenceSession
from p2pinfer.model.engine.base import Hidden


def record_steps() -> list[tuple[float, float, float]]:
    """Patch InferenceSession.compute to append its seconds: in all, in engines, and waiting for them."""
    steps: list[tuple[float, float, float]] = []
    compute = InferenceSession.compute

    def timed(session: InferenceSession, *arguments: Any) -> list[Hidden]:
        engines, queues = _totals(session)
        started = time.perf_counter()
        states = compute(session, *arguments)
        seconds = time.perf_counter() - started
        engines_now, queues_now = _totals(session)
        steps.append((seconds, engines_now - engines, queues_now - queues))
        return states

    InferenceSession.compute = timed  # type: ignore[assignment, method-assign]
    return steps


def _totals(session: InferenceSession) -> tuple[float, float]:
    hops = session.report()
    return sum(hop.compute_seconds for hop in hops), sum(hop.queue_seconds for hop in hops)
