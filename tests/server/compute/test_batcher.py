"""Waiting steps run together, a long step doesn't stall the others, and a dropped step is not run."""

from __future__ import annotations

import numpy as np
import pytest

from p2pinfer.server.compute.batcher import Batcher, QueuedStep, RowInput
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.compute.rates import Rates
from p2pinfer.server.compute.schedule import MIN_PREFILL_TOKENS, STALL_SECONDS
from p2pinfer.types import Span
from p2pinfer.wire.step_kind import StepKind
from tests.fakes import SPEED, FakeEngine, random_hidden, run_locally

CLIENT = b"client"


class Waiting:
    """A step that was added, and its outcome once there is one."""

    def __init__(self, batcher: Batcher, *rows: RowInput, client: bytes = CLIENT, **whose: object) -> None:
        self.outcomes: list[Computed | Exception] = []
        kind = StepKind.DECODE if all(len(row.hidden) == 1 for row in rows) else StepKind.PREFILL
        batcher.add(QueuedStep(client, kind, rows, self.outcomes.append, **whose))

    @property
    def done(self) -> Computed:
        (outcome,) = self.outcomes
        assert isinstance(outcome, Computed)
        return outcome


def run_all(batcher: Batcher) -> None:
    while batcher.depth:
        batcher.run()


def test_steps_that_wait_are_run_together():
    engine = FakeEngine(Span(0, 2))
    batcher = Batcher(engine, SPEED)
    hidden = [random_hidden(1, seed) for seed in range(5)]
    steps = [Waiting(batcher, RowInput(engine.new_cache(), 0, row)) for row in hidden]
    assert batcher.depth == 5
    batcher.run()

    assert engine.batch_sizes == [5]
    assert batcher.depth == 0
    for step, row in zip(steps, hidden, strict=True):
        assert np.array_equal(step.done.outputs[0], run_locally(row, 2))


def test_steps_of_other_layers_run_in_the_same_batch():
    engine = FakeEngine(Span(0, 4))
    batcher = Batcher(engine, SPEED)
    whole = Waiting(batcher, RowInput(engine.new_cache(), 0, random_hidden(1)))
    half = Waiting(batcher, RowInput(engine.new_cache(Span(0, 2)), 0, random_hidden(1)))
    batcher.run()

    assert engine.batch_sizes == [2]
    assert np.array_equal(whole.done.outputs[0], run_locally(random_hidden(1), 4))
    assert np.array_equal(half.done.outputs[0], run_locally(random_hidden(1), 2))


def test_beside_who_is_known_a_crowd_of_strangers_runs_little_by_little_and_computes_the_same():
    """Also while the known client's step is away at the other hops, and at full size when nobody is known."""
    engine = FakeEngine(Span(0, 2))
    batcher = Batcher(engine, SPEED)
    most = int(SPEED.decode.first / SPEED.prefill.first)  # tokens beside others in the time of a step alone
    hidden = random_hidden(40)
    crowd = [
        Waiting(
            batcher,
            RowInput(engine.new_cache(), 0, hidden[index : index + 1]),
            source="crowd",
            is_known=False,
        )
        for index in range(40)
    ]
    known = Waiting(batcher, RowInput(engine.new_cache(), 0, hidden[:1]), client=b"known", source="home")
    batcher.run()
    assert known.done.outputs
    batcher.run()
    first, second = engine.batch_sizes
    assert (first, 1 <= second <= most) == (most + 1, True)  # what a step takes is learned as it goes
    run_all(batcher)
    for index, step in enumerate(crowd):
        assert np.array_equal(step.done.outputs[0], run_locally(hidden[index : index + 1], 2))

    batcher._decoding.clear()  # the known client is silent for a while
    for index in range(40):
        Waiting(
            batcher, RowInput(engine.new_cache(), 0, hidden[index : index + 1]), source="c", is_known=False
        )
    batcher.run()
    assert engine.batch_sizes[-1] == 40


@pytest.mark.parametrize(("reader", "writer"), [((1, 3), (0, 4)), ((0, 4), (1, 3)), ((0, 1), (2, 4))])
def test_who_entered_in_the_middle_waits_for_a_slice_of_others_prefill_and_not_for_all_of_it(reader, writer):
    """A decode step is in the next batch, whatever layers it and the prefill run through."""
    engine = FakeEngine(Span(0, 4))
    batcher = Batcher(engine, SPEED)
    document = Waiting(batcher, RowInput(engine.new_cache(Span(*writer)), 0, random_hidden(500)), client=b"w")
    cache = engine.new_cache(Span(*reader))
    for position in range(3):
        step = Waiting(batcher, RowInput(cache, position, random_hidden(1, position)), client=b"r")
        batcher.run()
        assert step.done.outputs
        batcher.rates = Rates(SPEED, 0.0)  # whatever the measured times
    assert not document.outcomes
    seconds = SPEED.prefill.first * len(Span(*writer)) * (max(engine.batch_tokens) - 1)
    assert seconds <= STALL_SECONDS or max(engine.batch_tokens) == MIN_PREFILL_TOKENS + 1


def test_an_engine_that_fails_fails_the_steps_of_its_batch_and_no_others(caplog):
    failures = iter([MemoryError("no room")])

    def fail_once() -> None:
        if error := next(failures, None):
            raise error

    engine = FakeEngine(Span(0, 1), before_forward=fail_once)
    batcher = Batcher(engine, SPEED)
    failing = Waiting(batcher, RowInput(engine.new_cache(), 0, random_hidden(1)))
    batcher.run()
    other = Waiting(batcher, RowInput(engine.new_cache(), 0, random_hidden(1)))
    batcher.run()

    assert isinstance(failing.outcomes[0], MemoryError)
    assert np.array_equal(other.done.outputs[0], run_locally(random_hidden(1), 1))
    assert "a batch of 1 steps failed" in caplog.text


def test_a_step_whose_session_ends_while_it_waits_is_not_run_on_freed_memory():
    engine = FakeEngine(Span(0, 1))
    batcher = Batcher(engine, SPEED)
    cache = engine.new_cache()
    dropped = Waiting(batcher, RowInput(cache, 0, random_hidden(1)))
    batcher.release([cache])
    batcher.run()

    assert cache.released
    assert engine.batch_sizes == [] and dropped.outcomes == []


@pytest.mark.parametrize("lengths", [[400], [150, 3, 200], [1, 1, 390]])
def test_a_long_prefill_is_cut_where_others_decode_and_comes_out_the_same(lengths):
    """The decoding session waits for a slice of the documents, not for all of them."""
    engine = FakeEngine(Span(0, 2))
    batcher = Batcher(engine, SPEED)
    documents = [random_hidden(length, seed) for seed, length in enumerate(lengths)]
    rows = [RowInput(engine.new_cache(), 0, document) for document in documents]
    prefill = Waiting(batcher, *rows, client=b"writer")
    tokens, cache = random_hidden(3, 9), engine.new_cache()
    outputs = []
    for position in range(3):
        step = Waiting(batcher, RowInput(cache, position, tokens[position : position + 1]), client=b"reader")
        batcher.run()
        outputs.append(step.done.outputs[0])
        batcher.rates = Rates(SPEED, 0.0)  # whatever the measured times
    assert not prefill.outcomes
    run_all(batcher)

    assert np.array_equal(np.concatenate(outputs), run_locally(tokens, 2))
    assert max(engine.batch_tokens) < sum(lengths)
    for output, document in zip(prefill.done.outputs, documents, strict=True):
        assert np.array_equal(output, run_locally(document, 2))


def test_a_prefill_alone_is_not_cut():
    engine = FakeEngine(Span(0, 2))
    batcher = Batcher(engine, SPEED)
    Waiting(batcher, RowInput(engine.new_cache(), 0, random_hidden(400)))
    batcher.run()
    assert engine.batch_tokens == [400]


def test_a_row_that_begins_before_its_caches_end_is_rewound_once():
    engine = FakeEngine(Span(0, 2))
    batcher = Batcher(engine, SPEED)
    cache, hidden = engine.new_cache(), random_hidden(300)
    Waiting(batcher, RowInput(cache, 0, random_hidden(20, 5)))
    Waiting(batcher, RowInput(engine.new_cache(), 0, random_hidden(1)))
    run_all(batcher)
    again = Waiting(batcher, RowInput(cache, 0, hidden))
    while batcher.depth:
        Waiting(
            batcher, RowInput(engine.new_cache(), 0, random_hidden(1))
        )  # a decode step: the prompt is cut
        batcher.run()

    assert max(engine.batch_tokens[2:]) < 300
    assert np.array_equal(again.done.outputs[0], run_locally(hidden, 2))


def test_times_are_those_of_waiting_and_of_computing():
    engine = FakeEngine(Span(0, 2))
    batcher = Batcher(engine, SPEED)
    step = Waiting(batcher, RowInput(engine.new_cache(), 0, random_hidden(1)))
    batcher.run()
    assert step.done.compute_seconds > 0 and step.done.queue_seconds >= 0


def test_speeds_are_measured_while_serving():
    engine = FakeEngine(Span(0, 2))
    batcher = Batcher(engine, SPEED)
    for tokens in (64, 1):
        Waiting(batcher, RowInput(engine.new_cache(), 0, random_hidden(tokens)))
        batcher.run()
    assert 0 < batcher.rates.decode.first != SPEED.decode.first
    assert 0 < batcher.rates.prefill.first != SPEED.prefill.first
