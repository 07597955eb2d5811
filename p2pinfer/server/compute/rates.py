"""What a token costs in a layer of this server, learned from the batches that it runs. Pure.

Each batch is an observation, whatever its size and however long its contexts. So a busy server, whose batches
always hold several sessions, has fresh rates, and one long text doesn't look like a slow machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.model.engine.stretches import stretches
from p2pinfer.server.compute.schedule import MIN_PREFILL_TOKENS
from p2pinfer.server.compute.speed import Speed
from p2pinfer.types import LayerSeconds, Span

_PACE = 0.03
"""The part of a batch's surprise that is learned at once: about thirty batches count."""

_MOST_SURPRISE = 3.0
"""A batch counts as at most four times slower than expected: the machine may have slept."""

_LEAST_SECONDS = 1e-9

_USUAL_RISE = 0.5
"""What 1,024 tokens of context usually add to a token's seconds. So a flat line can learn to rise."""


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """One sequence's part of a batch: its new tokens, the tokens cached before them, and their layers."""

    tokens: int
    context: int
    layers: Span

    @property
    def contexts(self) -> float:
        """What its tokens have before them in all, in 1,024 tokens: on average half of the chunk too."""
        return self.tokens * (self.context + (self.tokens - 1) / 2) / 1024


@dataclass(slots=True)
class Load:
    """What the two parts of a line are multiplied by in one batch."""

    work: float = 0.0  # tokens times layers; decode steps count as in batches of one
    contexts: float = 0.0  # in 1,024 tokens, times layers

    def seconds(self, line: LayerSeconds) -> float:
        """What a machine with this line takes."""
        return self.work * line.first + self.contexts * line.per_1024


class Rates:
    """The present cost of a token in a decode step and in a prefill."""

    def __init__(self, speed: Speed, measured_at: float) -> None:
        """Begin with what was measured before the first batch, at `measured_at` (Unix seconds)."""
        self.decode = speed.decode
        """One token alone in its batch."""
        self.decode_measured_at = measured_at
        self.prefill = speed.prefill
        """One token of many in a prefill."""
        self.prefill_measured_at = measured_at
        self._speed = speed

    def observe(self, chunks: Sequence[ChunkSize], seconds: float, at: float) -> None:
        """Learn from a batch that took `seconds` and ended at `at` (Unix seconds).

        Where its sequences run through different layers, some layers may decode while others prefill. A batch
        teaches nothing if any of its layers does neither clearly.
        """
        decode, prefill = Load(), Load()
        for stretch in stretches([chunk.layers for chunk in chunks]):
            passing = [chunks[index] for index in stretch.passing]
            layers, tokens = len(stretch.layers), sum(chunk.tokens for chunk in passing)
            if all(chunk.tokens == 1 for chunk in passing):
                load, work = decode, self._speed.batch_cost(tokens)
            elif tokens >= MIN_PREFILL_TOKENS:
                load, work = prefill, float(tokens)
            else:
                return
            load.work += layers * work
            load.contexts += layers * sum(chunk.contexts for chunk in passing)
        self.decode, self.prefill = fitted([(self.decode, decode), (self.prefill, prefill)], seconds)
        if decode.work:
            self.decode_measured_at = at
        if prefill.work:
            self.prefill_measured_at = at


def fitted(loads: Sequence[tuple[LayerSeconds, Load]], seconds: float) -> list[LayerSeconds]:
    """Return the lines after a batch of these loads has taken `seconds` in all.

    Normalized least mean squares (Nagumo and Noda, 1967) on relative changes: each batch moves every part of
    the lines by its share in the seconds. Long texts teach what a context costs, short ones the rest.
    """
    expected = sum(load.seconds(line) for line, load in loads)
    surprise = min(seconds / expected - 1.0, _MOST_SURPRISE)
    scales = [line.per_1024 + _USUAL_RISE * line.first for line, _ in loads]
    by_work = [load.work * line.first / expected for line, load in loads]
    by_contexts = [load.contexts * scale / expected for scale, (_, load) in zip(scales, loads, strict=True)]
    step = _PACE * surprise / sum(share**2 for share in (*by_work, *by_contexts))
    return [
        LayerSeconds(
            max(line.first * (1.0 + step * work), _LEAST_SECONDS),
            max(line.per_1024 + scale * step * contexts, 0.0),
        )
        for (line, _), scale, work, contexts in zip(loads, scales, by_work, by_contexts, strict=True)
    ]
