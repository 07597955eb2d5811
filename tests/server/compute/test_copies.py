"""Rows are copied between batches, a bounded piece at a time, in the order in which the steps came."""

from __future__ import annotations

import numpy as np
import pytest

from p2pinfer.model.engine.base import Chunk
from p2pinfer.server.compute import copies
from p2pinfer.server.compute.batcher import Batcher, QueuedStep, RowInput
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.compute.copies import QueuedCopies, RowCopy
from p2pinfer.types import Span
from p2pinfer.wire.step_kind import StepKind
from tests.fakes import SPEED, random_hidden, run_locally
from tests.model.fake_engine import FakeCache, FakeEngine

ENGINE = FakeEngine(Span(0, 2))


def cache_of(tokens: int, seed: int = 0) -> FakeCache:
    cache = ENGINE.new_cache()
    if tokens:
        ENGINE.forward([Chunk(cache, random_hidden(tokens, seed))])
    return cache


@pytest.fixture
def batcher(monkeypatch: pytest.MonkeyPatch) -> Batcher:
    """Its pieces are 16 tokens."""
    monkeypatch.setattr(copies, "PIECE_BYTES", 16)
    return Batcher(FakeEngine(Span(0, 2)), SPEED)


def add(batcher: Batcher, *rows: RowCopy) -> list[Computed | Exception]:
    """Where the outcome of a new step will be."""
    outcomes: list[Computed | Exception] = []
    batcher.copies.add(QueuedCopies(rows, outcomes.append))
    return outcomes


def test_a_long_row_is_copied_in_pieces_and_others_decode_between_them(batcher: Batcher):
    target, decoding = cache_of(3, seed=1), ENGINE.new_cache()
    forked = add(batcher, RowCopy(target, cache_of(40), 33))
    decoded: list[Computed | Exception] = []
    batcher.add(QueuedStep(b"", StepKind.DECODE, [RowInput(decoding, 0, random_hidden(1))], decoded.append))
    assert batcher.depth == 2
    lengths = []
    while batcher.depth:
        batcher.run()
        lengths.append((target.length, len(decoded)))
    assert lengths == [(16, 1), (32, 1), (33, 1)]
    (outcome,) = forked
    assert isinstance(outcome, Computed)
    assert outcome.outputs == []
    assert outcome.compute_seconds > 0
    (output,) = ENGINE.forward([Chunk(target, random_hidden(40)[33:])])
    assert np.array_equal(output, run_locally(random_hidden(40), 2)[33:])


def test_short_rows_share_a_piece(batcher: Batcher):
    source, targets = cache_of(5), [cache_of(0) for _ in range(4)]
    outcome = add(batcher, *(RowCopy(target, source, 5) for target in targets))
    batcher.run()
    assert [target.length for target in targets] == [5, 5, 5, 1]
    assert outcome == []
    batcher.run()
    assert [target.length for target in targets] == [5] * 4
    assert len(outcome) == 1


def test_steps_are_served_in_order_of_arrival(batcher: Batcher):
    first = add(batcher, RowCopy(cache_of(0), cache_of(20), 20))
    second = add(batcher, RowCopy(cache_of(0), cache_of(1), 1))
    batcher.run()
    assert (len(first), len(second)) == (0, 0)
    batcher.run()
    assert (len(first), len(second)) == (1, 0)
    batcher.run()
    assert (len(first), len(second)) == (1, 1)
    assert batcher.depth == 0


def test_the_step_of_a_session_that_ends_is_dropped_and_the_next_one_begins(batcher: Batcher):
    target, source = cache_of(0), cache_of(40)
    dropped = add(batcher, RowCopy(target, source, 40))
    other = add(batcher, RowCopy(cache_of(0), cache_of(1), 1))
    batcher.run()
    batcher.release([target, source])
    batcher.run()
    assert dropped == []
    assert len(other) == 1
    assert batcher.depth == 0


def test_a_copy_that_fails_is_reported_to_its_step_alone(batcher: Batcher):
    failed = add(batcher, RowCopy(cache_of(0), cache_of(4), 5))
    other = add(batcher, RowCopy(cache_of(0), cache_of(4), 4))
    batcher.run()
    batcher.run()
    assert isinstance(failed[0], ValueError)
    assert isinstance(other[0], Computed)
