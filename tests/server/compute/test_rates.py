"""What a token costs is learned from every batch, whatever its size and however long its texts are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.server.compute.rates import ChunkSize, Rates
from p2pinfer.server.compute.speed import PREFILL_TOKENS, Speed, measure_speed
from p2pinfer.types import LayerSeconds, Span
from tests.fakes import FakeEngine

LAYERS = 10
WHOLE = Span(0, LAYERS)
SPEED = Speed(
    decode=LayerSeconds(0.001, 0.002), prefill=LayerSeconds(0.0001, 0.0004), batch_costs=((1, 1.0), (8, 1.7))
)


class Machine:
    """A machine that takes what `SPEED` says, times `slowness`."""

    def __init__(self) -> None:
        self.rates = Rates(SPEED, measured_at=100.0)
        self.slowness = 1.0
        self.now = 100.0

    def decode(self, contexts: Sequence[int], times: int = 1) -> None:
        seconds = SPEED.batch_cost(len(contexts)) * SPEED.decode.first
        seconds += sum(contexts) / 1024 * SPEED.decode.per_1024
        self.run([ChunkSize(1, context, WHOLE) for context in contexts], seconds, times)

    def prefill(self, tokens: int, context: int, times: int = 1) -> None:
        seconds = tokens * SPEED.prefill.after(context + (tokens - 1) / 2)
        self.run([ChunkSize(tokens, context, WHOLE)], seconds, times)

    def mixed(self, chunks: Sequence[ChunkSize], times: int = 1) -> None:
        """Layer after layer, each with the chunks that pass it."""
        seconds = 0.0
        for layer in range(LAYERS):
            passing = [chunk for chunk in chunks if layer in chunk.layers]
            tokens = sum(chunk.tokens for chunk in passing)
            contexts = sum(chunk.contexts for chunk in passing)
            if tokens == len(passing):
                line, work = SPEED.decode, SPEED.batch_cost(tokens) if tokens else 0.0
            else:
                line, work = SPEED.prefill, tokens
            seconds += work * line.first + contexts * line.per_1024
        self.run(chunks, seconds / LAYERS, times)

    def run(self, chunks: Sequence[ChunkSize], layer_seconds: float, times: int) -> None:
        for _ in range(times):
            self.now += 1.0
            self.rates.observe(chunks, self.slowness * LAYERS * layer_seconds, self.now)


@given(
    st.lists(
        st.lists(st.integers(0, 100_000), min_size=1, max_size=20)
        | st.tuples(st.integers(32, 512), st.integers(0, 100_000)),
        max_size=30,
    )
)
def test_no_mixture_of_texts_changes_what_a_steady_machine_says(batches):
    machine = Machine()
    for batch in batches:
        machine.prefill(*batch) if isinstance(batch, tuple) else machine.decode(batch)
    assert machine.rates.decode.first == pytest.approx(SPEED.decode.first, rel=1e-6)
    assert machine.rates.decode.per_1024 == pytest.approx(SPEED.decode.per_1024, rel=1e-6)
    assert machine.rates.prefill.first == pytest.approx(SPEED.prefill.first, rel=1e-6)
    assert machine.rates.prefill.per_1024 == pytest.approx(SPEED.prefill.per_1024, rel=1e-6)


spans = st.tuples(st.integers(0, LAYERS - 1), st.integers(1, LAYERS)).map(
    lambda pair: Span(pair[0], min(LAYERS, sum(pair)))
)
guests = st.builds(ChunkSize, st.just(1) | st.integers(32, 512), st.integers(0, 100_000), spans)


@given(st.lists(st.lists(guests, min_size=1, max_size=8), max_size=20))
def test_no_mixture_of_layers_changes_what_a_steady_machine_says(batches):
    """Sessions that enter or leave in the middle make some layers of a batch busier than others."""
    machine = Machine()
    for batch in batches:
        machine.mixed(batch)
    assert machine.rates.decode.after(5000) == pytest.approx(SPEED.decode.after(5000), rel=1e-6)
    assert machine.rates.prefill.after(5000) == pytest.approx(SPEED.prefill.after(5000), rel=1e-6)


def test_a_slower_machine_says_so_where_some_layers_decode_while_others_prefill():
    """Prefill is measured even if it never runs alone."""
    machine = Machine()
    machine.slowness = 3.0
    for _ in range(600):
        machine.decode([500])
        machine.mixed([ChunkSize(1, 500, WHOLE), ChunkSize(64, 0, Span(3, 8))])
    assert machine.rates.decode.after(500) == pytest.approx(3 * SPEED.decode.after(500), rel=0.1)
    assert machine.rates.prefill.after(32) == pytest.approx(3 * SPEED.prefill.after(32), rel=0.1)


def test_a_batch_of_which_a_layer_is_in_doubt_measures_nothing():
    machine = Machine()
    machine.rates.observe([ChunkSize(64, 0, WHOLE), ChunkSize(5, 0, Span(8, 12))], 1.0, at=200.0)
    assert machine.rates.decode_measured_at == machine.rates.prefill_measured_at == 100.0
    assert machine.rates.prefill == SPEED.prefill


@pytest.mark.parametrize("contexts", [[10], [4000], [10] * 8, [100, 5000, 30_000]])
def test_a_slower_machine_says_so_whatever_it_decodes(contexts):
    machine = Machine()
    machine.slowness = 3.0
    machine.decode(contexts, times=600)
    at = sum(contexts) / len(contexts)
    assert machine.rates.decode.after(at) == pytest.approx(3 * SPEED.decode.after(at), rel=0.1)
    machine.slowness = 1.0
    machine.decode(contexts, times=600)
    assert machine.rates.decode.after(at) == pytest.approx(SPEED.decode.after(at), rel=0.1)


def test_a_wrong_first_measurement_of_long_texts_is_corrected_by_long_texts():
    machine = Machine()
    machine.rates = Rates(
        Speed(decode=LayerSeconds(0.001), prefill=SPEED.prefill, batch_costs=SPEED.batch_costs), 100.0
    )
    machine.decode([8000], times=600)
    assert machine.rates.decode.after(8000) == pytest.approx(SPEED.decode.after(8000), rel=0.1)
    assert machine.rates.decode.first == pytest.approx(SPEED.decode.first, rel=0.5)


@given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 1e6)), max_size=60))
def test_whatever_is_measured_costs_stay_positive_and_finite(observations):
    rates = Rates(SPEED, measured_at=0.0)
    for context, seconds in observations:
        rates.observe([ChunkSize(1, context, WHOLE)], seconds, 1.0)
        rates.observe([ChunkSize(64, context, WHOLE)], seconds, 1.0)
    for line in (rates.decode, rates.prefill):
        assert 0 < line.first < float("inf")
        assert 0 <= line.per_1024 < float("inf")


def test_one_pause_of_the_machine_is_not_taken_for_its_speed():
    machine = Machine()
    machine.decode([100], times=100)
    machine.slowness = 1000.0
    machine.decode([100])
    assert machine.rates.decode.after(100) < 1.1 * SPEED.decode.after(100)


def test_rates_tell_when_they_were_measured():
    """A mixed batch, and a slice of prefill that is too short to tell, measure nothing."""
    machine = Machine()
    machine.run([ChunkSize(1, 5, WHOLE), ChunkSize(7, 0, WHOLE)], 0.01, times=1)
    assert machine.rates.decode_measured_at == 100.0
    machine.decode([5])
    assert machine.rates.decode_measured_at == (decoded_at := machine.now)
    assert machine.rates.prefill_measured_at == 100.0
    machine.prefill(64, 0)
    assert machine.rates.decode_measured_at == decoded_at
    assert machine.rates.prefill_measured_at == machine.now


def test_layers_that_decode_and_layers_that_prefill_in_one_batch_measure_both():
    machine = Machine()
    machine.mixed([ChunkSize(1, 500, WHOLE), ChunkSize(64, 0, Span(3, 8))])
    assert machine.rates.decode_measured_at == machine.rates.prefill_measured_at == machine.now


def test_a_batch_costs_what_was_measured_of_its_size_and_straight_lines_between():
    speed = Speed(LayerSeconds(1.0), LayerSeconds(1.0), batch_costs=((1, 1.0), (8, 1.7), (64, 7.3)))
    costs = [speed.batch_cost(tokens) for tokens in (1, 2, 8, 36, 64, 120)]
    assert costs == pytest.approx([1.0, 1.1, 1.7, 4.5, 7.3, 12.9])


def test_the_costs_of_batches_are_announced_where_they_were_measured():
    assert Speed(LayerSeconds(1.0), LayerSeconds(1.0)).measured_costs == {}
    assert list(measure_speed(FakeEngine(Span(0, 2)), 4096).measured_costs) == [8, 32, 64]
    assert list(measure_speed(FakeEngine(Span(0, 2)), 20).measured_costs) == [8, 19]
    assert measure_speed(FakeEngine(Span(0, 2)), 1).measured_costs == {}


@pytest.mark.parametrize("room_tokens", [1, 2, 3, 64, 65, 129, 4096])
def test_the_first_measurement_fits_into_the_room_there_is(room_tokens):
    longest = 0

    class WatchedEngine(FakeEngine):
        def forward(self, chunks):
            nonlocal longest
            outputs = super().forward(chunks)
            longest = max(longest, *(chunk.cache.length for chunk in chunks))
            return outputs

    speed = measure_speed(WatchedEngine(Span(0, 2)), room_tokens)
    assert longest <= room_tokens
    assert speed.decode.first > 0 and speed.prefill.first > 0
    assert speed.batch_cost(PREFILL_TOKENS) > 0
