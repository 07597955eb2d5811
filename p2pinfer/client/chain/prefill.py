"""Cuts what a session has to compute into steps that the servers take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import RowChunk

PREFILL_STEP_TOKENS = 128
"""Small enough that the stages of a route overlap within one prompt, large enough to compute well."""

FAR_STEP_TOKENS = 32
"""The same over slow links. A hop begins with a step when all of it is there, so that a prompt needs the time
to send it once, and in addition that of one step per hop: at 10 Mbit/s and 2.3 KB per token a quarter of a
second for 128 tokens."""

MAX_TOKENS_AHEAD = 4 * PREFILL_STEP_TOKENS
"""How much of a prompt is sent before the first answer: every hop should have something to do, and none too
much waiting for it."""

_FAR_SECONDS = 0.015


def step_tokens(round_trip_seconds: float) -> int:
    """How long the steps of a prompt should be for a route whose farthest hop is so far away."""
    return PREFILL_STEP_TOKENS if round_trip_seconds < _FAR_SECONDS else FAR_STEP_TOKENS


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """The chunks of one step; `final` tells for each whether it holds the row's last token."""

    kind: StepKind
    chunks: list[RowChunk]
    final: list[bool]

    @property
    def tokens(self) -> int:
        """Of all chunks."""
        return sum(len(chunk.hidden) for chunk in self.chunks)


def plan_steps(rows: Sequence[RowChunk], max_tokens: int) -> list[PlannedStep]:
    """Cut rows into steps of at most `max_tokens`, in order; a row is at most once in a step.

    Rows that lack one token each are being decoded; where any lacks more, all of it is prefill.
    """
    kind = StepKind.DECODE if all(len(row.hidden) == 1 for row in rows) else StepKind.PREFILL
    steps: list[PlannedStep] = []
    current = PlannedStep(kind, [], [])
    room = max_tokens
    for row in rows:
        start = 0
        while start < len(row.hidden):
            if room == 0:
                steps.append(current)
                current, room = PlannedStep(kind, [], []), max_tokens
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
