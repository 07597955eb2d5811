"""A reading of the swarm in all forms in which the health page shows one."""

from __future__ import annotations

import json
from collections.abc import Mapping

from p2pinfer.health.json_form import as_json
from p2pinfer.health.metrics import metrics_text
from p2pinfer.health.snapshot.report import SwarmReading, make_sample, make_state
from p2pinfer.health.terminal import as_text
from p2pinfer.health.web.rendering.page import render_page
from p2pinfer.types import PeerId


def shown(reading: SwarmReading, *, first_seen: Mapping[PeerId, float], now: float) -> str:
    """Make page, JSON, metrics, terminal and history of it; returns what people read."""
    state = make_state(
        reading,
        first_seen=first_seen,
        probes={},
        contributions=(),
        generated_at=now,
        fresh=True,
        detail="",
        version="0",
        join_addresses=(),
    )
    histories = {model.model: [make_sample(model, now)] * 2 for model in state.models}
    page = render_page(state, histories, snapshot_id="x", now=now)
    json.dumps(as_json(state), allow_nan=False).encode()
    metrics_text(state)
    return page + as_text(state, width=80)
