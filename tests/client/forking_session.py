"""A session whose rows are forked: how a client keeps what the hops hold while a fork is under way."""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.client.chain.chain import Chain
from p2pinfer.client.chain.deadlines import FIRST_SECONDS
from p2pinfer.client.chain.pending_rows import PendingRows
from p2pinfer.client.chain.prefill import PlannedStep, common_prefix
from p2pinfer.client.session import InferenceSession
from p2pinfer.model.engine.base import Hidden
from p2pinfer.wire.steps import Fork


class ForkingSession(InferenceSession):
    """An `InferenceSession` that can fork rows before it computes."""

    _forks: Sequence[Fork] = ()
    """Without an answer: they are sent again after a failure."""

    def fork_and_compute(
        self, forks: Sequence[Fork], rows: Sequence[list[int]], wanted: Sequence[int], *, wait: bool
    ) -> list[Hidden]:
        """Fork rows, and compute as `compute` does. Without `wait` the steps follow before the fork's answer.

        The servers must hold the sources' tokens, and `rows` must not change them.
        """
        self._wait, self._forks = wait, forks
        self._both: dict[int, int] = {}
        for fork in forks:
            old, new = self._held[fork.row], self._held[fork.source][: fork.tokens]
            self._both[fork.row] = common_prefix(old, new)
            self._held[fork.row] = new
        try:
            return self.compute(rows, wanted)
        finally:
            self._forks = ()

    def _run_steps(self, chain: Chain, pending: PendingRows) -> None:
        if self._forks:
            step_id = chain.fork(self._forks)
            if self._wait:
                chain.receive(step_id, tokens=0, overdue_seconds=FIRST_SECONDS)
                self._forks = ()
            else:
                take = pending.take

                def first_answer(step: PlannedStep, hidden: Hidden) -> None:
                    self._forks = ()  # the fork was answered before
                    take(step, hidden)

                pending.take = first_answer  # type: ignore[method-assign]
        super()._run_steps(chain, pending)

    def _held_by_all(self) -> list[list[int]]:
        rows = super()._held_by_all()
        if self._forks:  # some hops may have forked, and others not
            rows = [row[: self._both.get(index, len(row))] for index, row in enumerate(rows)]
        return rows
