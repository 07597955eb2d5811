"""The rows of one session: what each is to hold, what was sent of it, and which step comes next. Pure.

Rows are independent: while one is being decoded, another's prompt is sent, and a third keeps what it has for
a text that begins alike. Steps are answered in order, so what was sent before counts as held by what is sent
after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from p2pinfer.client.batching.row import Part, Row, RowFeed, RowFork, RowRecall, RowStep
from p2pinfer.client.batching.row_job import RowJob
from p2pinfer.client.chain.prefill import (
    FAR_STEP_TOKENS,
    MAX_TOKENS_AHEAD,
    PREFILL_STEP_TOKENS,
    common_prefix,
)
from p2pinfer.client.prefixes.keeping import Keeping
from p2pinfer.client.prefixes.prefix_index import SHORTEST, PrefixIndex
from p2pinfer.client.prefixes.scope import EVERYBODY, Scope
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


class RowTable:
    """The rows of a session."""

    def __init__(self, rows: int, *, index: PrefixIndex | None = None, reuses: bool = True) -> None:
        """`index` says what hops have kept, and is told; None: nothing is kept, and nothing recalled.

        Without `reuses` every text is computed from its first token.
        """
        self.rows = [Row(index) for index in range(rows)]
        self._jobs = 0
        self._reuses = reuses
        self._index = index if reuses else None
        self._keeping = Keeping(PrefixIndex() if index is None else index)

    @property
    def active(self) -> list[Row]:
        """Rows in which a text grows."""
        return [row for row in self.rows if row.job is not None]

    @property
    def is_keeping(self) -> bool:
        """True while KEEP steps wait or are under way, which need no text."""
        return self._keeping.has_work

    def cached(self, tokens: Sequence[int], scope: Scope = EVERYBODY) -> int:
        """How many leading tokens of a text some row has, or is about to have, at most all but the last."""
        return max(self._shared(row, tokens, scope) for row in self.rows)

    def begin(self, job: RowJob) -> Row:
        """Give a job the free row that has most of it; of several with nothing, the one unused longest.

        If another row has, or is about to have, much more of it, the row becomes a copy of that first.
        """
        free = [row for row in self.rows if row.job is None]
        row = max(free, key=lambda row: (self._usable(row, job), -row.used))
        usable = self._usable(row, job)
        if not job.has_begun:
            job.cached_tokens = usable
        self._jobs += 1
        row.tokens, row.sent, row.done = list(job.tokens), usable, min(row.done, usable)
        row.job, row.used = job, self._jobs
        row.number += 1
        row.scope, row.recall, row.is_recalling, row.feed = job.scope, None, False, None
        row.fork = self._fork_for(row)
        self._plan_recall(row, job)
        return row

    def end(self, row: Row) -> None:
        """The row's job is over. What the row holds stays for a text that begins alike."""
        job, row.job, row.fork, row.recall = row.job, None, None, None
        row.tokens = row.tokens[: row.sent]
        if job is not None and (job.gives_way or not job.is_background):  # it may go on
            self._keep(row, row.done)

    def _fork_for(self, row: Row) -> RowFork | None:
        """The copy that saves a row the most. Its source began earlier: no two rows wait for each other."""
        sources = [other for other in self.rows if other.used < row.used]
        shared = {other.index: self._shared(other, row.tokens, row.scope) for other in sources}
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
        if (bare := self._keeps() or self._copies() or self._recalls()) is not None:
            return bare
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
                if row.feed is not None:
                    if parts:
                        continue  # it gets a step of its own
                    end = min(row.sent + count, row.feed.tokens)
                    return RowStep(
                        StepKind.FEED, [Part(row, row.number, row.sent, end, False)], feed=row.feed
                    )
                end = row.sent + count
                parts.append(Part(row, row.number, row.sent, end, end == len(row.tokens)))
                room -= count
        return RowStep(StepKind.PREFILL, parts) if parts else None

    def sent(self, step: RowStep) -> None:
        """A step was sent."""
        if step.kind is StepKind.KEEP:
            self._keeping.sent()
        for part in step.parts:
            if step.kind is StepKind.RECALL:
                part.row.is_recalling = True  # what the row has then the answer says
                continue
            part.row.sent = part.end
            if part.row.feed is not None and part.end == part.row.feed.tokens:
                part.row.feed = None
            job = part.row.job
            if step.kind is StepKind.FORK and job is not None and not job.has_begun:
                job.cached_tokens = part.end

    def answered(self, step: RowStep, lacking: int | None = None) -> list[Part]:
        """A step was answered. Returns its parts, less those whose job is over.

        What a job has left in its row is there as well, for a text that begins alike. `lacking` is the first
        hop that hasn't kept what a KEEP or RECALL step is about.
        """
        if step.keep is not None:
            self._keeping.answered(step.keep, lacking=lacking)
        if step.recall is not None:
            self._recalled(step.parts[0], step.recall, lacking)
            return []
        known = [part for part in step.parts if part.number == part.row.number]
        for part in known:
            part.row.done = part.end
            if step.kind is StepKind.FORK:
                part.row.fork = None
                self._keep(part.row, part.end)  # several texts begin like that
            if 0 < part.row.keep_at <= part.end:
                self._keep(part.row, part.row.keep_at, is_new=False)
                part.row.keep_at = 0
        return [part for part in known if part.row.job is not None]

    def send_again(self) -> None:
        """What was not answered has to be sent again: no step is under way, and hops may be new."""
        for row in self.rows:
            row.sent = row.done
            _count_cached(row)
            if row.job is None:
                row.tokens = row.tokens[: row.done]
        self._compute_recalled()

    def forget(self) -> None:
        """No hop holds anything any more."""
        for row in self.rows:
            row.sent = row.done = 0
            _count_cached(row)
            if row.job is None:
                row.tokens = []
        self._compute_recalled()

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

    def _keeps(self) -> RowStep | None:
        """A KEEP step comes before all others: its row is then what it was when the step was planned."""
        keep = self._keeping.next()
        return None if keep is None else RowStep(StepKind.KEEP, [], keep=keep)

    def _recalls(self) -> RowStep | None:
        for row in self.rows:
            if row.recall is not None and not row.is_recalling:
                part = Part(row, row.number, row.sent, row.recall.tokens, False)
                return RowStep(StepKind.RECALL, [part], recall=row.recall)
        return None

    def _keep(self, row: Row, tokens: int, *, is_new: bool = True) -> None:
        if self._index is not None:
            self._keeping.keep(row.index, row.tokens[:tokens], row.scope, is_new=is_new)

    def _plan_recall(self, row: Row, job: RowJob) -> None:
        """Recall what hops have kept, if that is much more than rows of this session give."""
        row.keep_at = 0
        if self._index is None:
            return
        told = min(job.shared_prefix_tokens, len(row.tokens) - 1)
        known = self._index.longest(row.scope, row.tokens[:-1])
        recall = None if known is None else RowRecall(known.tokens, known.length)
        if told >= SHORTEST:
            row.keep_at = told
            if recall is None or recall.tokens < told:  # another process may have had it kept
                recall = RowRecall(tuple(row.tokens[:told]), told)
        has = row.sent if row.fork is None else row.fork.tokens
        if recall is not None and recall.tokens >= has + SHORTEST:
            row.recall, row.fork = recall, None

    def _recalled(self, part: Part, recall: RowRecall, lacking: int | None) -> None:
        row, job = part.row, part.row.job
        if part.number != row.number or job is None:  # the row holds what it held, or what begins like it
            return
        row.recall, row.is_recalling = None, False
        if lacking is None:
            row.sent = row.done = part.end
            if not job.has_begun:
                job.cached_tokens = part.end
            self._keeping.found(row.scope, recall.named)
            return
        self._keep_anew(row, recall)
        if lacking:
            row.feed = RowFeed(lacking, part.end)
        else:
            row.fork = self._fork_for(row)

    def _keep_anew(self, row: Row, recall: RowRecall) -> None:
        """Have what some hop lacks kept once more, when it is computed."""
        row.keep_at = max(row.keep_at, recall.tokens)
        self._keeping.lost(row.scope, row.tokens[: row.keep_at])

    def _compute_recalled(self) -> None:
        """Recalls without an answer are given up: what hops have of their rows is no longer known."""
        self._keeping.forget()
        for row in self.rows:
            row.feed = None
            if row.is_recalling and row.recall is not None:
                self._keep_anew(row, row.recall)
                row.recall, row.is_recalling = None, False
                row.fork = self._fork_for(row)

    def _usable(self, row: Row, job: RowJob) -> int:
        """Leading tokens of a text that a row was sent; the last is always computed, for its scores."""
        if not self._reuses or row.scope != job.scope:
            return 0
        return min(common_prefix(row.tokens[: row.sent], job.tokens), len(job.tokens) - 1)

    def _shared(self, row: Row, tokens: Sequence[int], scope: Scope) -> int:
        """Leading tokens of a text that a row has, or is about to have: its own, as far as it is known."""
        if not self._reuses or row.scope != scope:
            return 0
        return min(common_prefix(row.tokens, list(tokens)), len(tokens) - 1)

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
