"""What the computing thread reports of a step that it has done."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.model.engine.base import Hidden


@dataclass(frozen=True, slots=True)
class Computed:
    """A step that was computed: the outputs of each row, and how long the step waited and ran."""

    outputs: list[Hidden]
    queue_seconds: float
    compute_seconds: float
