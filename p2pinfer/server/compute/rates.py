"""What a token costs in a layer of this server, learned from the batches that it runs. Pure.

Each batch is an observation, whatever its size and however long its contexts. So a busy server, whose batches
always hold several sessions, has fresh rates, and one long text doesn't look like a slow machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.server.compute.schedule import MIN_PREFILL_TOKENS
from p2pinfer.server.compute.speed import Speed
from p2pinfer.types import LayerSeconds

_PACE = 0.03
"""The part of a batch's surprise that is learned at once: about thirty batches count."""

_MOST_SURPRISE = 3.0
"""A batch counts as at most four times slower than expected: the machine may have slept."""

_LEAST_SECONDS = 1e-9

_USUAL_RISE = 0.5
"""What 1,024 tokens of context usually add to a token's seconds. So a flat line can learn to rise."""


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """One sequence's part of a batch: its new tokens, and the tokens cached before them."""

    tokens: int
    context: int


class Rates:
    """The present cost of a token in a decode step and in a prefill."""

    def __init__(self, speed: Speed, measured_at: float) -> None:
        """Begin with what was measured before the first batch, at `measured_at` (Unix seconds)."""
        self.measured_at = measured_at
        self._speed = speed
        self._decode = LineFit(speed.decode)
        self._prefill = LineFit(speed.prefill)

    @property
    def decode(self) -> LayerSeconds:
        """One token alone in its batch."""
        return self._decode.line

    @property
    def prefill(self) -> LayerSeconds:
        """One token of many in a prefill."""
        return self._prefill.line

    def observe(self, chunks: Sequence[ChunkSize], layers: int, seconds: float, at: float) -> None:
        """Learn from a batch through `layers` layers that took `seconds` and ended at `at` (Unix seconds)."""
        tokens = sum(chunk.tokens for chunk in chunks)
        # A chunk's tokens have, on average, half of the chunk before them.
        contexts = sum(chunk.tokens * (chunk.context + (chunk.tokens - 1) / 2) for chunk in chunks)
        if all(chunk.tokens == 1 for chunk in chunks):
            self._decode.observe(self._speed.batch_cost(tokens), contexts / 1024, seconds / layers)
        elif tokens >= MIN_PREFILL_TOKENS:
            self._prefill.observe(1.0, contexts / tokens / 1024, seconds / layers / tokens)
        else:
            return
        self.measured_at = at


class LineFit:
    """Fits `seconds = work * first + contexts * per_1024` to batches as they come.

    Normalized least mean squares (Nagumo and Noda, 1967) on relative changes: each batch moves both parts of
    the line by their shares in its seconds. Long texts teach what a context costs, short ones the rest.
    """

    def __init__(self, line: LayerSeconds) -> None:
        self.line = line

    def observe(self, work: float, contexts: float, seconds: float) -> None:
        """Add a batch. `work` is in tokens of a batch of one, `contexts` in 1,024 tokens."""
        first, per_1024 = self.line.first, self.line.per_1024
        expected = work * first + contexts * per_1024
        surprise = min(seconds / expected - 1.0, _MOST_SURPRISE)
        scale = per_1024 + _USUAL_RISE * first
        by_work, by_contexts = work * first / expected, contexts * scale / expected
        step = _PACE * surprise / (by_work**2 + by_contexts**2)
        self.line = LayerSeconds(
            max(first * (1.0 + step * by_work), _LEAST_SECONDS),
            max(per_1024 + scale * step * by_contexts, 0.0),
        )
