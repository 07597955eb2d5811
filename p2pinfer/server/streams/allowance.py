"""How much work of one session may be unsigned, and when to ask for a receipt. Pure."""

from __future__ import annotations

from p2pinfer.server.streams.progress import Progress
from p2pinfer.wire.receipts import Work


class Allowance:
    """The computing thread's count of work. The event loop tells it what the client has signed for."""

    __slots__ = ("_asked", "_progress", "limit_tokens", "signed")

    def __init__(self, limit_tokens: int, progress: Progress) -> None:
        """At most `limit_tokens` may be unsigned. What is done is written into `progress`."""
        self.limit_tokens = limit_tokens
        self.signed = Work()
        self._asked = Work()  # what the client was last asked to sign for
        self._progress = progress

    @property
    def unsigned_tokens(self) -> int:
        """Tokens that were computed and not signed for."""
        return self._progress.done.tokens - self.signed.tokens

    def may_run(self, tokens: int) -> bool:
        """True if a step of `tokens` tokens may begin."""
        return self.unsigned_tokens + tokens <= self.limit_tokens

    def count(self, work: Work) -> None:
        """Add the work of a step that was computed."""
        self._progress.done = self._progress.done + work

    def is_due(self) -> bool:
        """True if half of the limit was done since the client signed, or was last asked to."""
        told = max(self.signed.tokens, self._asked.tokens)
        return self._progress.done.tokens - told >= self.limit_tokens // 2

    def ask(self) -> Work:
        """The work that the client is now asked to sign for: all that was done."""
        self._asked = self._progress.done
        return self._asked
