"""What the texts of a batch begin with, seen from texts that come one after the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.client.chain.prefill import common_prefix
from p2pinfer.client.prefixes.scope import Scope


class CommonBeginning:
    """Guesses how many leading tokens of a text are in the next ones too: what the last three have in common.

    So each of ten thousand documents with one instruction says where that ends, whoever sent it, and nobody
    has to tell.
    """

    def __init__(self) -> None:
        self._scope: Scope | None = None
        self._last: list[int] = []
        self._shared = 0  # by the last two

    def tokens(self, text: Sequence[int], scope: Scope) -> int:
        """How many it is for this text; 0 if the last ones began otherwise, or are of another scope."""
        tokens = list(text)
        if scope != self._scope:
            self._scope, self._last, self._shared = scope, tokens, 0
            return 0
        before, self._shared = self._shared, common_prefix(self._last, tokens)
        self._last = tokens
        return min(before, self._shared)
