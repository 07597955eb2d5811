"""Rows that become copies of other rows or of prefixes, and prefixes that become copies of rows.

Their memory is copied between batches, a piece at a time.

A copy needs no engine, but it takes the time of the computing thread: 4,096 tokens of a model of 8 billion
parameters are 1 GiB. So a piece of bounded size is copied before each batch, and the sessions that decode
wait for no more than that. Steps are served in order of arrival. A session has one step here at a time, so
nothing else uses its caches meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.server.compute.computed import Computed

logger = logging.getLogger(__name__)

PIECE_BYTES = 32 << 20
"""What is copied before one batch: about 10 ms, with the page faults of new memory."""


@dataclass(frozen=True, slots=True)
class RowCopy:
    """Let `target` hold the first `tokens` tokens of `source`, and nothing else."""

    target: SequenceCache
    source: SequenceCache
    tokens: int


@dataclass(slots=True, eq=False)
class QueuedCopies:
    """A FORK, KEEP, RECALL or FEED step of a session. One with nothing to copy waits for its turn as well.

    `report` is called once, without outputs or with what was raised.
    """

    copies: Sequence[RowCopy]
    report: Callable[[Computed | Exception], None]
    of: SequenceCache | None = None
    """One of the session's caches; None: the target of the first copy."""

    arrived: float = field(default_factory=time.perf_counter)
    compute_seconds: float = 0.0
    _begun: bool = False
    _left: deque[RowCopy] = field(init=False)

    def __post_init__(self) -> None:
        self._left = deque(self.copies)

    @property
    def session_cache(self) -> SequenceCache:
        """One of its session's caches."""
        return self.copies[0].target if self.of is None else self.of

    def copy_piece(self, piece_tokens: int) -> bool:
        """Copy the next tokens, at most `piece_tokens` of all rows together. True: nothing is left."""
        if not self._begun:
            self._begun = True
            for copy in self.copies:
                copy.target.rewind(0)
        while self._left:
            copy = self._left[0]
            held = copy.target.length
            end = min(copy.tokens, held + piece_tokens)
            copy.target.extend_from(copy.source, end)
            piece_tokens -= end - held
            if end < copy.tokens:
                return False
            self._left.popleft()
        return True

    def outcome(self, now: float) -> Computed:
        """How long the step waited and ran; `now` is the time by the clock of `arrived`."""
        return Computed([], max(0.0, now - self.arrived - self.compute_seconds), self.compute_seconds)


class Copies:
    """The steps that wait, the one that is under way first."""

    def __init__(self, bytes_per_layer_token: float) -> None:
        """`bytes_per_layer_token`: the memory of one token's keys and values in one layer."""
        self._bytes_per_layer_token = bytes_per_layer_token
        self._waiting: deque[QueuedCopies] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, work: QueuedCopies) -> None:
        """Let a step wait for its turn."""
        self._waiting.append(work)

    def drop(self, freed: set[int]) -> None:
        """Forget the steps of the session whose caches have these ids, without a report."""
        self._waiting = deque(work for work in self._waiting if id(work.session_cache) not in freed)

    def run_piece(self) -> None:
        """Copy one piece of the first step, and report the step if nothing of it is left."""
        if not self._waiting:
            return
        work = self._waiting[0]
        started = time.perf_counter()
        outcome: Computed | Exception
        try:
            is_done = work.copy_piece(self._piece_tokens(work))
            now = time.perf_counter()
            work.compute_seconds += now - started
            if not is_done:
                return
            outcome = work.outcome(now)
        except Exception as error:  # whatever the caches raise is reported to the step
            logger.exception("copying rows failed")
            outcome = error
        self._waiting.popleft()
        work.report(outcome)

    def _piece_tokens(self, work: QueuedCopies) -> int:
        token_bytes = self._bytes_per_layer_token * len(work.session_cache.layers)
        return max(1, int(PIECE_BYTES / max(1.0, token_bytes)))
