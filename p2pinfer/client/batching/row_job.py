"""A text that grows in some row, and what is told of it. The session's thread makes it grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from p2pinfer.client.prefixes.scope import EVERYBODY, Scope
from p2pinfer.model.ends import Logits
from p2pinfer.types import PeerId

CLOSED = "this model was closed: open it again"


class Continuation(Protocol):
    """Decides how a text goes on. Only the thread of the session that the text is in calls it."""

    def advance(self, logits: Logits) -> int | None:
        """The next token, from its scores [vocab_size]; None: the text has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEvent:
    """Servers took the place of others while a text was being made."""

    left: tuple[PeerId, ...]
    joined: tuple[PeerId, ...]
    seconds: float
    """From the last answer before to the first one after."""

    after_tokens: int
    """Tokens of the answer that were there before."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class RowJob:
    """One text. It outlives its row: a text that outgrows a row goes on in a longer one."""

    prompt: Sequence[int]
    continuation: Continuation
    on_news: Callable[[], None]
    """Called in the loop that submitted the job, when there is something new: tokens, or the end."""

    most_new_tokens: int | None = None
    """It ends after so many tokens; None: nobody knows."""

    is_background: bool = False
    """It begins only when no other job waits, and gives its row to one that does."""

    gives_way: bool = False
    """Its row is wanted for a job that isn't in the background: it goes on later, in whatever row is free."""

    scope: Scope = EVERYBODY
    """It begins with what texts of this scope have left, and leaves to them what it has."""

    shared_prefix_tokens: int = 0
    """So many leading tokens are known to be in other texts too."""

    tokens: list[int] = field(default_factory=list)
    """The prompt and the answer so far."""

    waits_since: float = 0.0
    """When it began to wait for a row, on its loop's clock."""

    cached_tokens: int = 0
    """Tokens of the prompt that the servers had already."""

    has_ended: bool = False
    error: Exception | None = None
    """Why it ended early."""

    is_cancelled: bool = False
    """Nobody waits for it any more. Any thread may set it."""

    replaced: list[RouteEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt)

    @property
    def new_tokens(self) -> int:
        """Tokens of the answer that are there."""
        return len(self.tokens) - len(self.prompt)

    @property
    def left_tokens(self) -> int | None:
        """The most tokens that are still to come; None: nobody knows."""
        return None if self.most_new_tokens is None else self.most_new_tokens - self.new_tokens

    @property
    def has_begun(self) -> bool:
        """True from the first token of the answer on."""
        return self.new_tokens > 0
