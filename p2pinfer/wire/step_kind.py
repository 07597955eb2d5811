"""What a step is for: the client says so, and scheduling, deadlines, receipts and statistics depend on it."""

from __future__ import annotations

from enum import IntEnum

MAX_DRAFT_TOKENS = 32
"""The most tokens of a draft per row and step. Drafts run before all prompts, so they have to be short."""


class StepKind(IntEnum):
    """Never inferred from the number of tokens: the last token of a prompt looks like a decode step."""

    DECODE = 1  # exactly one token per row, and a reader waits for the result
    PREFILL = 2  # a piece of a prompt
    HISTORY = 3  # the input that a lost hop had received, sent again to its replacement; has no answer
    DRAFT = 4  # a few guessed tokens per row; the outputs confirm or reject them
    AUDIT = 5  # tokens that other servers have computed before, to compare the outputs
    FORK = 6  # brings no tokens: rows become copies of the first tokens of other rows
    KEEP = 7  # brings no tokens: the first tokens of a row are kept beyond the session, under a name
    RECALL = 8  # brings no tokens: a row becomes a copy of what was kept under a name
    FEED = 9  # brings no tokens: the hops that have them pass them on, to the first that lacks them

    @property
    def is_urgent(self) -> bool:
        """True if a reader waits for every step of this kind: such steps run before prompts."""
        return self in (StepKind.DECODE, StepKind.DRAFT)

    @property
    def brings_hidden(self) -> bool:
        """True if it brings hidden states, to be computed."""
        return self < StepKind.FORK

    @property
    def most_row_tokens(self) -> int | None:
        """The most tokens that a step of this kind may have for one row; None: no limit of its own."""
        return _MOST_ROW_TOKENS.get(self)


_MOST_ROW_TOKENS = {StepKind.DECODE: 1, StepKind.DRAFT: MAX_DRAFT_TOKENS}
