"""One row of a session, and what a step has of it. Plain data: `RowTable` decides about rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.prefixes.keeping import ToKeep
from p2pinfer.client.prefixes.scope import EVERYBODY, Scope
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Fork


@dataclass(frozen=True, slots=True)
class RowFork:
    """A text begins like one of another row, which the servers have or are about to have."""

    source: Row
    tokens: int


@dataclass(frozen=True, slots=True)
class RowRecall:
    """A text begins with the first `tokens` tokens of what hops have kept under the name of `named`."""

    named: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class RowFeed:
    """The hops before `hop` have the first `tokens` tokens of a row, which the others are to compute."""

    hop: int
    tokens: int


@dataclass(slots=True, eq=False)
class Row:
    """One row. Only the session's thread changes it."""

    index: int
    tokens: list[int] = field(default_factory=list)
    """What it is to hold."""

    sent: int = 0
    """So many of them were sent."""

    done: int = 0
    """So many of them every hop has: their steps were answered. Never more than `sent`."""

    job: RowJob | None = None
    number: int = 0
    """Counts the row's jobs: an answer to a step of an earlier one says nothing of the next one."""

    used: int = 0
    """When its last job began, in jobs of the table."""

    fork: RowFork | None = None
    """What it is to copy before it goes on; None from the answer on."""

    scope: Scope = EVERYBODY
    """Of the text that it holds, or held last."""

    recall: RowRecall | None = None
    """What it is to recall before it goes on; None from the answer on."""

    is_recalling: bool = False
    """True while the recall is under way."""

    feed: RowFeed | None = None
    """What the last hops lacked of it."""

    keep_at: int = 0
    """So many leading tokens are to be kept at the hops when they are there; 0: none."""

    @property
    def is_ready_to_decode(self) -> bool:
        """True if the next token is known and was not sent, and all before it was answered."""
        return self.job is not None and self.job.has_begun and self.sent == self.done == len(self.tokens) - 1

    @property
    def unsent_prompt(self) -> int:
        """Tokens of a prompt that have to be sent, or of a text that goes on here."""
        if self.job is None or self.is_decoding or self.has_to_copy or self.recall is not None:
            return 0
        return len(self.tokens) - self.sent

    @property
    def has_to_copy(self) -> bool:
        """True until its fork is sent."""
        return self.fork is not None and self.sent < self.fork.tokens

    @property
    def has_reader(self) -> bool:
        """True if somebody waits for each of its tokens."""
        return self.job is not None and not self.job.is_background

    @property
    def is_decoding(self) -> bool:
        """True while its text grows token by token."""
        return self.job is not None and self.job.has_begun and self.done >= len(self.tokens) - 1


@dataclass(frozen=True, slots=True)
class Part:
    """What one step has of one row: its tokens from `start` to `end`."""

    row: Row
    number: int
    start: int
    end: int
    is_last: bool
    """The scores after `end` are wanted."""


@dataclass(frozen=True, slots=True)
class RowStep:
    """The next step."""

    kind: StepKind
    parts: list[Part]
    forks: list[Fork] = field(default_factory=list)
    """The copies of a FORK step, one for each part."""

    keep: ToKeep | None = None
    """What a KEEP step keeps."""

    recall: RowRecall | None = None
    """What a RECALL step recalls for its part."""

    feed: RowFeed | None = None
    """Where the part of a FEED step is computed."""

    @property
    def prompt_tokens(self) -> int:
        """How many tokens of prompts it brings."""
        is_prompt = self.kind in (StepKind.PREFILL, StepKind.FEED)
        return sum(part.end - part.start for part in self.parts) if is_prompt else 0

    @property
    def is_answered(self) -> bool:
        """True if hidden states come back, one for each part."""
        return any(part.is_last for part in self.parts)
