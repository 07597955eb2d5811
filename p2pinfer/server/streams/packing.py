"""A step's outputs as the frame that is sent on: a result for the client, or a step for the next hop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pinfer.model.engine.base import Hidden
from p2pinfer.server.streams.sent_outputs import SentOutputs
from p2pinfer.wire.prefix_steps import Feed
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Contract,
    Outputs,
    RowChunk,
    Step,
    hops_of,
    pack_feed,
    pack_fork,
    pack_prefix,
    pack_result,
    pack_step,
    select_outputs,
)

REPLAY_STEP_TOKENS = 128
"""Tokens of one step of a replay: it shares the next hop's engine with the steps of other sessions."""


class ResultPacker:
    """Makes results. For the last hop, which keeps nothing: the client has its results as tokens."""

    def __init__(self, contract: Contract) -> None:
        self._dtype = contract.wire_dtype
        self._nothing = np.empty((0, contract.hidden_size), np.float32)

    def pack(self, step: Step, outputs: Sequence[Hidden], times: bytes) -> bytes | None:
        """Return the result of a step; None for HISTORY, which isn't answered."""
        if step.kind is StepKind.HISTORY:
            return None
        answer = select_outputs(outputs, step.outputs) if outputs else self._nothing
        return pack_result(step.step_id, answer, self._dtype, times, step.lacking)

    def outputs_of(self, row: int, tokens: int) -> Hidden | None:
        """What is kept of a row's first tokens: nothing, because no hop follows."""
        return None

    def forget(self) -> None:
        """Nothing is kept here that would have to be freed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next step of a replay, and its tokens."""

    frame: bytes
    tokens: int


class StepPacker:
    """Makes steps for the next hop, and keeps their hidden states for a hop that comes later."""

    def __init__(self, contract: Contract, *, pass_history_on: bool) -> None:
        """`pass_history_on`: the next hop needs HISTORY steps as well, because it is as new as this one."""
        self.sent_outputs = SentOutputs(
            rows=contract.rows, max_tokens=contract.max_tokens, hidden_size=contract.hidden_size
        )
        self._dtype = contract.wire_dtype
        self._pass_history_on = pass_history_on

    def pack(self, step: Step, outputs: Sequence[Hidden], times: bytes) -> bytes | None:
        """Keep the outputs. Return the step for the next hop; None for HISTORY that isn't passed on."""
        if step.kind is StepKind.FORK:
            self.sent_outputs.fork(step.forks)
            return pack_fork(step.step_id, step.forks, times)
        if step.prefix is not None:
            if outputs:  # of a row that was recalled
                self.sent_outputs.replace(step.prefix.row, outputs[0])
            return pack_prefix(step.step_id, step.kind, step.prefix, times, step.lacking)
        if step.feed is not None:
            return self._pack_feed(step.step_id, step.feed, times)
        chunks = [
            RowChunk(chunk.row, chunk.position, output)
            for chunk, output in zip(step.chunks, outputs, strict=True)
        ]
        self.sent_outputs.record(chunks)
        if step.kind is StepKind.HISTORY and not self._pass_history_on:
            return None
        return pack_step(step.step_id, step.kind, chunks, step.outputs, self._dtype, times)

    def outputs_of(self, row: int, tokens: int) -> Hidden | None:
        """A copy of the outputs of a row's first tokens, [tokens, hidden_size]."""
        return self.sent_outputs.rows()[row][:tokens].copy()

    def _pack_feed(self, step_id: int, feed: Feed, times: bytes) -> bytes:
        """The step that feeds the next hop if that is the one that lacks the tokens; else the step itself."""
        if feed.hop > hops_of(times):
            return pack_feed(step_id, feed, times)
        outputs = self.sent_outputs.rows()[feed.row][feed.start : feed.end]
        chunks = [RowChunk(feed.row, feed.start, outputs)]
        return pack_step(
            step_id,
            StepKind.PREFILL,
            chunks,
            Outputs.NONE,
            self._dtype,
            times,
            is_patient=feed.is_patient,
        )

    def begin_replay(self, held: Sequence[int]) -> None:
        """Let `next_piece` begin behind the `held` tokens of each row (none given: at the first of each)."""
        self.sent_outputs.begin_replay(held)

    def next_piece(self) -> Piece | None:
        """Return the next step of the replay; None if nothing is left."""
        chunks = self.sent_outputs.take(REPLAY_STEP_TOKENS)
        if not chunks:
            return None
        frame = pack_step(0, StepKind.HISTORY, chunks, Outputs.NONE, self._dtype)
        return Piece(frame, sum(len(chunk.hidden) for chunk in chunks))

    def end_replay(self, *, pass_history_on: bool) -> None:
        """The hop that was told everything is the next hop from now on."""
        self.sent_outputs.end_replay()
        self._pass_history_on = pass_history_on

    def forget(self) -> None:
        """Free what was kept for a replay. There is none afterwards."""
        self.sent_outputs.forget()
