"""Cuts rows of tokens into steps that the servers take. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import RowChunk

PREFILL_STEP_TOKENS = 128
"""Small enough that the hops of a route overlap within one prompt, large enough to compute efficiently."""

FAR_STEP_TOKENS = 32
"""The step length over slow links. A hop begins a step when all of it has arrived, so a prompt takes the time
to send it once, and the time to send one step more per hop: at 10 Mbit/s and 2.3 KB per token a quarter of a
second for 128 tokens."""

MAX_TOKENS_AHEAD = 4 * PREFILL_STEP_TOKENS
"""How much of a prompt to send before the first answer: enough to keep every hop busy without long queues."""

_FAR_SECONDS = 0.015


def step_tokens(round_trip_seconds: float) -> int:
    """Return the best length of a prompt's steps for a route whose farthest hop has this round trip."""
    return PREFILL_STEP_TOKENS if round_trip_seconds < _FAR_SECONDS else FAR_STEP_TOKENS


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """The chunks of one step; `final` says for each chunk whether it ends with the row's last token."""

    kind: StepKind
    chunks: list[RowChunk]
    final: list[bool]

    @property
    def tokens(self) -> int:
        """The tokens of all chunks together."""
        return sum(len(chunk.hidden) for chunk in self.chunks)


def plan_steps(rows: Sequence[RowChunk], max_tokens: int) -> list[PlannedStep]:
    """Cut rows into steps of at most `max_tokens`, in order; a row is at most once in a step.

    If every row has one token to compute, the rows are being decoded; otherwise all steps are prefill.
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
    """Return how many leading tokens two rows share."""
    if wanted[: len(held)] == held:
        return len(held)
    for index, (one, other) in enumerate(zip(held, wanted, strict=False)):
        if one != other:
            return index
    return min(len(held), len(wanted))
