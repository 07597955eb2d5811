"""What a step is for. The client says it; scheduling, deadlines, receipts and statistics look at it."""

from __future__ import annotations

from enum import IntEnum

MAX_DRAFT_TOKENS = 32
"""Of one row in one step. A draft goes before everybody's prompts, so it has to be short."""


class StepKind(IntEnum):
    """Nobody infers it from the number of tokens: a prompt's last token looks like a decode step."""

    DECODE = 1  # exactly one token per row, for which a reader waits
    PREFILL = 2  # a piece of a prompt
    HISTORY = 3  # what a hop that has left was sent before, for the one in its place; not answered
    DRAFT = 4  # a few guessed tokens per row, which the outputs confirm or not
    AUDIT = 5  # a piece of what other servers have computed, to compare the outputs

    @property
    def is_urgent(self) -> bool:
        """True if a reader waits for every such step: it runs before prompts do."""
        return self in (StepKind.DECODE, StepKind.DRAFT)

    @property
    def most_row_tokens(self) -> int | None:
        """How many tokens it may bring for one row; None: as many as any step."""
        return _MOST_ROW_TOKENS.get(self)


_MOST_ROW_TOKENS = {StepKind.DECODE: 1, StepKind.DRAFT: MAX_DRAFT_TOKENS}
