"""Renders every snapshot of the swarm once, as page, JSON and metrics. Requests get bytes from memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from p2pinfer.health.faults import Faults
from p2pinfer.health.json_form import as_json
from p2pinfer.health.metrics import metrics_text
from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.source import HealthSource
from p2pinfer.health.snapshot.state import HealthState, Sample
from p2pinfer.health.web.rendering.page import HISTORY_HOURS, render_page, shown_models
from p2pinfer.http.answers import HTML, JSON
from p2pinfer.http.body import Body

_CHECK_SECONDS = 1.0
"""Time between checks. A snapshot of the same time may have become old, or may now report trouble."""

_LEAST_PAUSE_SECONDS = 0.25
"""The least time between two renderings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One snapshot as page, JSON and metrics."""

    id: str
    state: HealthState
    is_old: bool
    page: Body
    json: Body
    metrics: Body


class Snapshots:
    """The newest snapshot, rendered. For the event loop; a thread does the rendering."""

    def __init__(self, source: HealthSource, *, now: Callable[[], float] = time.time) -> None:
        self._source = source
        self._now = now
        self._changed = asyncio.Event()
        self._current: Rendered | None = None
        self._faults = Faults()

    @property
    def current(self) -> Rendered:
        """The newest snapshot. Valid after the first `renew`."""
        assert self._current is not None
        return self._current

    def age_seconds(self) -> float:
        """Seconds since the swarm was read for the rendered snapshot; infinite if unknown."""
        return words.age_seconds(self.current.state, self._now())

    async def renew(self) -> None:
        """Render the source's snapshot, unless it is the last rendered one."""
        state = self._source.state()
        is_old = words.age_seconds(state, self._now()) > words.OLD_SECONDS
        last = self._current
        if last is not None and last.state is state and last.is_old == is_old:
            return
        histories = {
            model.model: self._source.history(model.model, HISTORY_HOURS) for model in shown_models(state)
        }
        rendered = await asyncio.to_thread(_render, state, histories, self._now())
        self._current = rendered
        if last is None or rendered.id != last.id:
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def renew_forever(self) -> None:
        """Render each new snapshot of the source. If that fails, the page stays as it is, and becomes old."""
        while True:
            generated_at = self.current.state.generated_at
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._source.wait_newer(
                        generated_at if math.isfinite(generated_at) else self._now()
                    )
            try:
                await self.renew()
            except Exception as error:  # noqa: BLE001 - the next snapshot may be another
                self._faults.note("a snapshot can't be rendered", error)
            await asyncio.sleep(_LEAST_PAUSE_SECONDS)

    async def wait_other(self, known_id: str) -> Rendered:
        """Wait for a snapshot with another id than `known_id`."""
        while self.current.id == known_id:
            await self._changed.wait()
        return self.current


def _render(state: HealthState, histories: Mapping[str, Sequence[Sample]], now: float) -> Rendered:
    is_old = words.age_seconds(state, now) > words.OLD_SECONDS
    text = json.dumps(as_json(state), allow_nan=False, separators=(",", ":"))
    snapshot_id = hashlib.sha256(f"{is_old}{text}".encode(errors="replace")).hexdigest()[:16]
    return Rendered(
        id=snapshot_id,
        state=state,
        is_old=is_old,
        page=Body.of(render_page(state, histories, snapshot_id=snapshot_id, now=now), HTML),
        json=Body.of(text, JSON),
        metrics=Body.of(*metrics_text(state)),
    )
