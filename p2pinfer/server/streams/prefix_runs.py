"""Runs a session's KEEP, RECALL and FEED steps. On the computing thread, as the driver that it belongs to.

None of them computes anything. All wait for their turn among the steps that copy rows, so that no session
gets another answer while its driver still reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.compute.copies import QueuedCopies, RowCopy
from p2pinfer.server.prefixes.kept import SHARED, KeptPrefix, PrefixKey
from p2pinfer.server.streams.packing import ResultPacker, StepPacker
from p2pinfer.wire.prefix_steps import Prefix
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Contract, Step

Report = Callable[[Computed | Exception, bool], None]
"""Gets what came of a step, and True if its prefix isn't kept here."""


class PrefixRuns:
    """One session's, which has one step here at a time."""

    def __init__(
        self,
        *,
        batcher: Batcher,
        client: bytes,
        contract: Contract,
        caches: Sequence[SequenceCache],
        packer: ResultPacker | StepPacker,
    ) -> None:
        self._batcher = batcher
        self._store = batcher.prefixes
        self._client = client
        self._wire_dtype = contract.wire_dtype
        self._caches = caches
        self._packer = packer
        self._in_use: KeptPrefix | None = None

    def run(self, step: Step, report: Report) -> None:
        """Run a step, and report it once, later."""
        prefix = step.prefix
        if prefix is None:
            self._copy((), partial(_done, report))
        elif step.kind is StepKind.KEEP:
            self._keep(prefix, report)
        else:
            self._recall(prefix, report)

    def release(self) -> None:
        """The session has ended, and its step was dropped."""
        kept, self._in_use = self._in_use, None
        if kept is not None:
            self._store.release(kept)

    def _keep(self, prefix: Prefix, report: Report) -> None:
        key = self._key(prefix)
        if self._store.has(key, prefix.tokens):
            self._copy((), partial(_done, report))
            return
        kept = self._in_use = self._store.begin(key, self._client, prefix.tokens)
        if kept is None:
            self._copy((), partial(_lacking, report))
            return
        copy = RowCopy(kept.cache, self._caches[prefix.row], prefix.tokens)
        self._copy([copy], partial(self._was_kept, kept, prefix.row, report))

    def _was_kept(self, kept: KeptPrefix, row: int, report: Report, outcome: Computed | Exception) -> None:
        self._in_use = None
        if isinstance(outcome, Exception):  # no memory, for one: the session itself has lost nothing
            self._store.release(kept)
            _lacking(report, Computed([], 0.0, 0.0))
            return
        kept.outputs = self._packer.outputs_of(row, kept.tokens)
        self._store.add(kept)
        _done(report, outcome)

    def _recall(self, prefix: Prefix, report: Report) -> None:
        kept = self._in_use = self._store.find(self._key(prefix), prefix.tokens)
        if kept is None:
            self._copy((), partial(_lacking, report))
            return
        copy = RowCopy(self._caches[prefix.row], kept.cache, prefix.tokens)
        self._copy([copy], partial(self._was_recalled, kept, prefix.tokens, report))

    def _was_recalled(
        self, kept: KeptPrefix, tokens: int, report: Report, outcome: Computed | Exception
    ) -> None:
        self._in_use = None
        if isinstance(outcome, Computed) and kept.outputs is not None:
            outcome.outputs.append(kept.outputs[:tokens])
        report(outcome, False)
        self._store.release(kept)

    def _copy(self, copies: Sequence[RowCopy], report: Callable[[Computed | Exception], None]) -> None:
        self._batcher.copies.add(QueuedCopies(copies, report, self._caches[0]))

    def _key(self, prefix: Prefix) -> PrefixKey:
        return PrefixKey(
            scope=SHARED if prefix.is_shared else self._client,
            name=prefix.name,
            layers=self._caches[0].layers,
            wire_dtype=self._wire_dtype,
            has_outputs=isinstance(self._packer, StepPacker),
        )


def _done(report: Report, outcome: Computed | Exception) -> None:
    report(outcome, False)


def _lacking(report: Report, outcome: Computed | Exception) -> None:
    report(outcome, True)
