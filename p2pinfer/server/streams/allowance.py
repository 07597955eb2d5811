"""How much work of one session may be unsigned, and when to ask for a receipt. Pure."""

from __future__ import annotations

from typing import Protocol

from p2pinfer.server.streams.progress import Progress
from p2pinfer.wire.receipts import Work

_LEAST_ASKED_TOKENS = 64
"""A receipt is a write to a disk: for less none is asked for before its time."""


class Trust(Protocol):
    """What all sessions of the client, and of its network, may run on trust together."""

    def wait_seconds(self, tokens: int) -> float:
        """Return after how many seconds the client may run so many tokens; 0: now."""

    def count(self, tokens: int) -> None:
        """So many tokens more are unsigned; a negative number: they were signed for."""

    def is_short(self) -> bool:
        """True if the client should be asked to sign soon."""

    def leave(self) -> None:
        """The session has ended: it waits for nothing any more."""


class _Unlimited:
    """A client that is trusted with everything."""

    def wait_seconds(self, tokens: int) -> float:
        """Never."""
        return 0.0

    def count(self, tokens: int) -> None:
        """Count nothing."""

    def is_short(self) -> bool:
        """Never."""
        return False

    def leave(self) -> None:
        """Nobody waits."""


UNLIMITED = _Unlimited()


class Allowance:
    """The computing thread's count of work. The event loop tells it what the client has signed for."""

    __slots__ = ("_asked", "_progress", "_trust", "limit_tokens", "signed")

    def __init__(self, limit_tokens: int, progress: Progress, trust: Trust) -> None:
        """At most `limit_tokens` may be unsigned. What is done is written into `progress`."""
        self.limit_tokens = limit_tokens
        self.signed = Work()
        self._trust = trust
        self._asked = Work()  # what the client was last asked to sign for
        self._progress = progress

    @property
    def unsigned_tokens(self) -> int:
        """Tokens that were computed and not signed for."""
        return self._progress.done.tokens - self.signed.tokens

    def may_run(self, tokens: int) -> bool:
        """True if this session's own limit lets a step of `tokens` tokens begin."""
        return self.unsigned_tokens + tokens <= self.limit_tokens

    def wait_seconds(self, tokens: int) -> float:
        """Return after how many seconds it may begin; a receipt may make it sooner."""
        return self._trust.wait_seconds(tokens) if tokens else 0.0

    def begin(self, tokens: int) -> None:
        """A step of so many tokens begins."""
        if tokens:
            self._trust.count(tokens)

    def end(self) -> None:
        """The session has ended."""
        self._trust.leave()

    def count(self, work: Work) -> None:
        """Add the work of a step that was computed."""
        self._progress.done = self._progress.done + work

    def sign(self, signed: Work) -> None:
        """The client has signed for this work, all receipts together."""
        self._trust.count(self.signed.tokens - signed.tokens)
        self.signed = signed

    def is_due(self) -> bool:
        """True if half of the limit was done since the client signed, or was last asked to.

        Or less, if the client's sessions together have run far ahead.
        """
        told = max(self.signed.tokens, self._asked.tokens)
        news = self._progress.done.tokens - told
        return news >= self.limit_tokens // 2 or (news >= _LEAST_ASKED_TOKENS and self._trust.is_short())

    def ask(self) -> Work:
        """The work that the client is now asked to sign for: all that was done."""
        self._asked = self._progress.done
        return self._asked
