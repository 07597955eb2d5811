"""One call of `compute`: the tokens that still have to go through the chain, and what came out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from p2pinfer.client.chain.prefill import PREFILL_STEP_TOKENS, PlannedStep, common_prefix, plan_steps
from p2pinfer.model.engine.base import Hidden
from p2pinfer.wire.steps import Outputs, RowChunk

Embed = Callable[[Sequence[int]], Hidden]


class PendingRows:
    """Rows on their way through a chain.

    Steps can be planned anew at any time, for the tokens that are not answered yet: after a hop was
    replaced, or for a hop that takes smaller steps.
    """

    def __init__(
        self, rows: Sequence[list[int]], wanted: Sequence[int], held: Sequence[list[int]], embed: Embed
    ) -> None:
        """Ask, per row, for the hidden states of its last `wanted` tokens. `held` is what all hops have."""
        self._rows = rows
        self._wanted = wanted
        self._embed = embed
        self._done = [
            min(common_prefix(had, row), len(row) - count)
            for had, row, count in zip(held, rows, wanted, strict=True)
        ]
        self._everything = any(count > 1 for count in wanted)
        self._collected: list[list[Hidden]] = [[] for _ in rows]

    @property
    def held(self) -> list[list[int]]:
        """The tokens of each row that every hop has. Anything that hops hold beyond them is overwritten."""
        return [row[:done] for row, done in zip(self._rows, self._done, strict=True)]

    def plan(self, max_step_tokens: int) -> list[PlannedStep]:
        """Return steps for all tokens that are not answered yet, none longer than `max_step_tokens`."""
        chunks = [
            RowChunk(index, done, self._embed(row[done:]))
            for index, (row, done) in enumerate(zip(self._rows, self._done, strict=True))
            if done < len(row)
        ]
        return plan_steps(chunks, max_step_tokens)

    def outputs(self, step: PlannedStep) -> Outputs:
        """Return which hidden states of this step the client needs."""
        if self._everything:
            return Outputs.ALL
        return Outputs.LAST if any(step.final) else Outputs.NONE

    def answered_tokens(self, step: PlannedStep) -> int:
        """Return how many hidden states come back for this step."""
        outputs = self.outputs(step)
        if outputs is Outputs.NONE:
            return 0
        return len(step.chunks) if outputs is Outputs.LAST else step.tokens

    def take(self, step: PlannedStep, hidden: Hidden) -> None:
        """Take the answer to a step: all hops hold its tokens from here on."""
        outputs, start = self.outputs(step), 0
        for chunk, final in zip(step.chunks, step.final, strict=True):
            self._done[chunk.row] = chunk.position + len(chunk.hidden)
            if outputs is Outputs.NONE:
                continue
            size = len(chunk.hidden) if outputs is Outputs.ALL else 1
            if outputs is Outputs.ALL or final:
                self._collected[chunk.row].append(hidden[start : start + size])
            start += size

    def collected(self) -> list[Hidden]:
        """Return the states that were asked for, per row [wanted, hidden], when every step is answered."""
        return [
            np.concatenate(parts)[-count:] if len(parts) > 1 else parts[0][-count:]
            for parts, count in zip(self._collected, self._wanted, strict=True)
        ]


def left_to_send(held: Sequence[list[int]], sent: Sequence[list[int]]) -> int:
    """Return how many tokens `history_steps` will send."""
    return sum(len(row) - _start(sent, index, row) for index, row in enumerate(held))


def history_steps(
    held: Sequence[list[int]], sent: Sequence[list[int]], embed: Embed, max_step_tokens: int
) -> Iterator[list[RowChunk]]:
    """Yield the steps that bring a first hop from `sent`, which it has already got, to `held`."""
    size = min(PREFILL_STEP_TOKENS, max_step_tokens)
    for index, row in enumerate(held):
        start = _start(sent, index, row)
        for position in range(start, len(row), size):
            yield [RowChunk(index, position, embed(row[position : position + size]))]


def _start(sent: Sequence[list[int]], index: int, row: list[int]) -> int:
    return common_prefix(sent[index], row) if sent else 0
