"""The seconds of a client's steps: in all, and in the servers' engines and queues."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.failover.step_pipeline import StepPipeline, StepRequest
from p2pinfer.client.session import InferenceSession
from p2pinfer.model.engine.base import Hidden
from p2pinfer.wire.step_kind import StepKind


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


class StepTotals:
    """Counts the steps of all pipelines of this process, by kind, from the moment when it is made."""

    def __init__(self) -> None:
        """Patch StepPipeline. Seconds of steps that a server computed together count for each of them."""
        self._lock = threading.Lock()
        self._totals: dict[str, dict[str, float]] = {}
        sent, count = StepPipeline._sent, StepPipeline._count

        def noting_sent(pipeline: StepPipeline[Any], step_id: int, step: StepRequest, note: Any) -> None:
            self._add(step.kind, steps=1, tokens=step.tokens, rows=len(step.chunks))
            sent(pipeline, step_id, step, note)

        def noting_seconds(
            pipeline: StepPipeline[Any],
            hops: list[Hop],
            hop_seconds: Sequence[tuple[float, float]],
            kind: StepKind,
        ) -> None:
            queues, engines = zip(*hop_seconds, strict=True)
            self._add(kind, queue_seconds=sum(queues), engine_seconds=sum(engines))
            count(pipeline, hops, hop_seconds, kind)

        StepPipeline._sent = noting_sent  # type: ignore[assignment, method-assign]
        StepPipeline._count = noting_seconds  # type: ignore[assignment, method-assign]

    def take(self) -> dict[str, dict[str, float]]:
        """Return what was counted since the last call: steps, tokens, rows, and seconds of all hops."""
        with self._lock:
            taken, self._totals = self._totals, {}
        return taken

    def _add(self, kind: StepKind, **values: float) -> None:
        with self._lock:
            totals = self._totals.setdefault(kind.name.lower(), {})
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + value
