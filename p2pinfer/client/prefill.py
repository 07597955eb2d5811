"""Cuts what a session has to compute into steps that the servers take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.wire.steps import RowChunk

PREFILL_STEP_TOKENS = 128
"""Small enough that the stages of a route overlap within one prompt, large enough to compute well."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """The chunks of one step; `final` tells for each whether it holds the row's last token."""

    chunks: list[RowChunk]
    final: list[bool]


def plan_steps(rows: Sequence[RowChunk], max_tokens: int) -> list[PlannedStep]:
    """Cut rows into steps of at most `max_tokens`, in order; a row is at most once in a step."""
    steps: list[PlannedStep] = []
    current = PlannedStep([], [])
    room = max_tokens
    for row in rows:
        start = 0
        while start < len(row.hidden):
            if room == 0:
                steps.append(current)
                current, room = PlannedStep([], []), max_tokens
            end = min(len(row.hidden), start + room)
            current.chunks.append(RowChunk(row.row, row.position + start, row.hidden[start:end]))
            current.final.append(end == len(row.hidden))
            room -= end - start
            start = end
    if current.chunks:
        steps.append(current)
    return steps


def common_prefix(held: Sequence[int], wanted: Sequence[int]) -> int:
    """How many leading tokens two rows share."""
    if wanted[: len(held)] == held:
        return len(held)
    for index, (one, other) in enumerate(zip(held, wanted, strict=False)):
        if one != other:
            return index
    return min(len(held), len(wanted))
