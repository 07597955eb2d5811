"""The rows of one session: what each is to hold, what was sent of it, and which step comes next. Pure.

Rows are independent: while one is being decoded, another's prompt is sent, and a third keeps what it has for
a text that begins alike. Steps are answered in order, so what was sent before counts as held by what is sent
after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.chain.prefill import (
    FAR_STEP_TOKENS,
    MAX_TOKENS_AHEAD,
    PREFILL_STEP_TOKENS,
    common_prefix,
)
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Fork

_WORTH_A_COPY = 32
"""A copy saves the computing of so many tokens, or isn't made: it is a step of its own."""

_PIECE_BESIDE_READERS = 32
"""How much of new prompts is in one step while other rows are being decoded: their next tokens come behind.
Pieces of 128 tokens let readers wait twice as long, and no prompt was done sooner (SmolLM2-135M, three peers
on two cores)."""

_AHEAD_OF_READERS = 2 * _PIECE_BESIDE_READERS
"""How much of new prompts is under way meanwhile."""

_FAR_AHEAD_OF_READERS = 4 * FAR_STEP_TOKENS
"""The same over slow links, where pieces spend their time on the way and not at the hops."""


@dataclass(frozen=True, slots=True)
class RowFork:
    """A text begins like one of another row, which the servers have or are about to have."""

    source: Row
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

    @property
    def is_ready_to_decode(self) -> bool:
        """True if the next token is known and was not sent, and all before it was answered."""
        return self.job is not None and self.job.has_begun and self.sent == self.done == len(self.tokens) - 1

    @property
    def unsent_prompt(self) -> int:
        """Tokens of a prompt that have to be sent, or of a text that goes on here."""
        if self.job is None or self.is_decoding or self.has_to_copy:
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

    @property
    def prompt_tokens(self) -> int:
        """How many tokens of prompts it brings."""
        return sum(part.end - part.start for part in self.parts) if self.kind is StepKind.PREFILL else 0

    @property
    def is_answered(self) -> bool:
        """True if hidden states come back, one for each part."""
        return any(part.is_last for part in self.parts)


class RowTable:
    """The rows of a session."""

    def __init__(self, rows: int) -> None:
        self.rows = [Row(index) for index in range(rows)]
        self._jobs = 0

    @property
    def active(self) -> list[Row]:
        """Rows in which a text grows."""
        return [row for row in self.rows if row.job is not None]

    def cached(self, tokens: Sequence[int]) -> int:
        """How many leading tokens of a text some row has, or is about to have, at most all but the last."""
        return max(_shared(row, tokens) for row in self.rows)

    def begin(self, job: RowJob) -> Row:
        """Give a job the free row that has most of it; of several with nothing, the one unused longest.

        If another row has, or is about to have, much more of it, the row becomes a copy of that first.
        """
        free = [row for row in self.rows if row.job is None]
        row = max(free, key=lambda row: (_usable(row, job.tokens), -row.used))
        usable = _usable(row, job.tokens)
        if not job.has_begun:
            job.cached_tokens = usable
        self._jobs += 1
        row.tokens, row.sent, row.done = list(job.tokens), usable, min(row.done, usable)
        row.job, row.used = job, self._jobs
        row.number += 1
        row.fork = self._fork_for(row)
        return row

    def end(self, row: Row) -> None:
        """The row's job is over. What the row holds stays for a text that begins alike."""
        row.job = row.fork = None
        row.tokens = row.tokens[: row.sent]

    def _fork_for(self, row: Row) -> RowFork | None:
        """The copy that saves a row the most. Its source began earlier: no two rows wait for each other."""
        sources = [other for other in self.rows if other.used < row.used]
        shared = {other.index: _shared(other, row.tokens) for other in sources}
        source = max(sources, key=lambda other: shared[other.index], default=None)
        if source is None or shared[source.index] < row.sent + _WORTH_A_COPY:
            return None
        return RowFork(source, shared[source.index])

    def next_step(self, *, depth: int, decodes: int, prompt_tokens: int, max_tokens: int) -> RowStep | None:
        """The next step to send; None: wait for an answer first.

        `depth` is the number of hops, `decodes` the number of decode steps under way, `prompt_tokens` the
        tokens of prompts under way. Decoded tokens don't count there: some are always under way, and no
        prompt would ever get between them.
        """
        if (copies := self._copies()) is not None:
            return copies
        ready = [row for row in self.rows if row.is_ready_to_decode]
        decoding = sum(row.is_decoding for row in self.rows)
        # Rows that are ready wait for others, so that no hop computes them one by one. Where steps are under
        # way, one share for each hop is enough.
        if ready and (not decodes or (decodes < depth and len(ready) >= math.ceil(decoding / depth))):
            return RowStep(
                StepKind.DECODE,
                [Part(row, row.number, row.sent, row.sent + 1, True) for row in ready[:max_tokens]],
            )
        if any(row.is_decoding and row.has_reader for row in self.rows):
            room = min(_PIECE_BESIDE_READERS, max_tokens)
            ahead = _AHEAD_OF_READERS if max_tokens > FAR_STEP_TOKENS else _FAR_AHEAD_OF_READERS
        else:
            room, ahead = min(PREFILL_STEP_TOKENS, max_tokens), MAX_TOKENS_AHEAD
        if prompt_tokens and prompt_tokens + room > ahead:
            return None
        parts: list[Part] = []
        for row in sorted(self.rows, key=lambda row: row.used):
            if room and (count := min(room, row.unsent_prompt)):
                end = row.sent + count
                parts.append(Part(row, row.number, row.sent, end, end == len(row.tokens)))
                room -= count
        return RowStep(StepKind.PREFILL, parts) if parts else None

    def sent(self, step: RowStep) -> None:
        """A step was sent."""
        for part in step.parts:
            part.row.sent = part.end
            job = part.row.job
            if step.kind is StepKind.FORK and job is not None and not job.has_begun:
                job.cached_tokens = part.end

    def answered(self, step: RowStep) -> list[Part]:
        """A step was answered. Returns its parts, less those whose job is over.

        What a job has left in its row is there as well, for a text that begins alike.
        """
        known = [part for part in step.parts if part.number == part.row.number]
        for part in known:
            part.row.done = part.end
            if step.kind is StepKind.FORK:
                part.row.fork = None
        return [part for part in known if part.row.job is not None]

    def send_again(self) -> None:
        """What was not answered has to be sent again: no step is under way, and hops may be new."""
        for row in self.rows:
            row.sent = row.done
            _count_cached(row)
            if row.job is None:
                row.tokens = row.tokens[: row.done]

    def forget(self) -> None:
        """No hop holds anything any more."""
        for row in self.rows:
            row.sent = row.done = 0
            _count_cached(row)
            if row.job is None:
                row.tokens = []

    def _copies(self) -> RowStep | None:
        """The copies whose sources are there by now: what was sent before them counts."""
        parts: list[Part] = []
        forks: list[Fork] = []
        replaced: set[int] = set()
        sources: set[int] = set()
        for row in sorted(self.rows, key=lambda row: row.used):
            if not row.has_to_copy:
                continue
            if not _is_source(row):  # it has got another text since
                row.fork = self._fork_for(row)
            fork = row.fork
            if fork is None:
                continue
            source = fork.source
            if source.sent >= fork.tokens and row.index not in sources and source.index not in replaced:
                parts.append(Part(row, row.number, 0, fork.tokens, False))
                forks.append(Fork(row.index, source.index, fork.tokens))
                replaced.add(row.index)
                sources.add(source.index)
        return RowStep(StepKind.FORK, parts, forks) if parts else None

    def held(self) -> list[list[int]]:
        """The tokens of each row that every hop has."""
        return [row.tokens[: row.done] for row in self.rows]


def _is_source(row: Row) -> bool:
    """True if the source of a row's copy has what is to be copied, or gets it before anything else."""
    fork = row.fork
    if fork is None or fork.source.tokens[: fork.tokens] != row.tokens[: fork.tokens]:
        return False
    return fork.source.sent >= fork.tokens or fork.source.used < row.used


def _count_cached(row: Row) -> None:
    """Correct what was said of a prompt whose beginning is lost."""
    if row.job is not None and not row.job.has_begun:
        row.job.cached_tokens = min(row.job.cached_tokens, row.sent)


def _shared(row: Row, tokens: Sequence[int]) -> int:
    """Leading tokens of a text that a row has, or is about to have: its own text, as far as it is known."""
    return min(common_prefix(row.tokens, list(tokens)), len(tokens) - 1)


def _usable(row: Row, tokens: Sequence[int]) -> int:
    """Leading tokens of a text that a row was sent; the last one is always computed, for its scores."""
    return min(common_prefix(row.tokens[: row.sent], list(tokens)), len(tokens) - 1)
