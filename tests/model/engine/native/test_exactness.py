"""The same tokens give the same bytes, however they are asked for; and the bytes are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Chunk, Hidden
from p2pinfer.model.engine.native.config import GEMMA_NORMS, HEAD_NORMS, LLAMA_NORMS, LayerShape
from p2pinfer.model.engine.native.engine import NativeEngine
from p2pinfer.model.engine.native.rotary import Rotary
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.model.engine.native.oracle import (
    ISAS,
    model_oracle,
    random_hidden,
    relative_difference,
    run_in_pieces,
    small_engine,
    small_shape,
)

TWO_ROTARIES = {
    "rotaries": (
        Rotary(frequencies=np.array([1.0, 0.1, 0.01], np.float32), factor=1.0),
        Rotary(frequencies=np.array([2.0, 0.7, 0.2], np.float32), factor=1.25),
    ),
    "layers": (LayerShape(window_tokens=0, rotary=0), LayerShape(window_tokens=3, rotary=1)),
}
SHAPES: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "plain norms": {"norms": LLAMA_NORMS},
    "whole groups": {"hidden": 128, "intermediate": 192, "heads": 4, "head_dim": 32},
    "one key head": {"heads": 7, "kv_heads": 1},
    "as many key heads": {"heads": 3, "kv_heads": 3},
    "wide heads": {"head_dim": 80, "hidden": 70},
    "gemma": {
        "norms": GEMMA_NORMS | HEAD_NORMS,
        "norm_offset": 1.0,
        "activation": "gelu_pytorch_tanh",
        "attention_softcap": 1.5,
    },
    "two rotaries": TWO_ROTARIES,
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_model_of_any_shape_agrees_with_float64(name: str):
    """A larger difference than float32's comes from one activation that rounded the other way."""
    shape = small_shape(**SHAPES[name])
    hidden = random_hidden(37, shape.hidden)
    found = run_in_pieces(small_engine(shape, threads=2), hidden, [37])

    assert relative_difference(found, model_oracle(shape, hidden)) < 2e-3


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_cut_threads_and_instruction_set_change_no_bit(name: str, isa: str, threads: int):
    """At once, in chunks, token by token; compared with the portable engine on one thread."""
    shape = small_shape(**SHAPES[name])
    hidden = random_hidden(37, shape.hidden)
    expected = run_in_pieces(small_engine(shape, threads=1, isa="portable"), hidden, [37])
    engine = small_engine(shape, threads=threads, isa=isa)
    for pieces in ([37], [16, 16, 5], [1, 30, 6], [1] * 37):
        np.testing.assert_array_equal(run_in_pieces(engine, hidden, pieces), expected)


@settings(max_examples=25)
@given(st.data())
def test_random_shapes_and_batches_change_no_bit(data: st.DataObject):
    """Sequences of random lengths advance together in random chunks; each gets what it gets alone."""
    kv_heads, group = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    head_dim = 2 * data.draw(st.integers(1, 40))
    shape = small_shape(
        hidden=data.draw(st.integers(1, 150)),
        intermediate=data.draw(st.integers(1, 150)),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=head_dim,
        attention_softcap=data.draw(st.sampled_from([0.0, 3.0])),
        layers=tuple(LayerShape(window_tokens=data.draw(st.integers(0, 40)), rotary=0) for _ in range(2)),
    )
    lengths = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=5))
    inputs = [random_hidden(length, shape.hidden, seed) for seed, length in enumerate(lengths)]
    single = small_engine(shape, threads=1, isa="portable")
    expected = [run_in_pieces(single, hidden, [len(hidden)]) for hidden in inputs]

    engine = small_engine(shape, threads=2)
    caches = [engine.new_cache() for _ in inputs]
    while waiting := [i for i, cache in enumerate(caches) if cache.length < lengths[i]]:
        chosen = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True))
        starts = [caches[i].length for i in chosen]
        ends = [data.draw(st.integers(s + 1, lengths[i])) for i, s in zip(chosen, starts, strict=True)]
        chunks = [Chunk(caches[i], inputs[i][s:e]) for i, s, e in zip(chosen, starts, ends, strict=True)]
        for i, s, e, found in zip(chosen, starts, ends, engine.forward(chunks), strict=True):
            np.testing.assert_array_equal(found, expected[i][s:e])


@settings(max_examples=25)
@given(st.data())
def test_sequences_of_other_layers_in_the_batch_change_no_bit(data: st.DataObject):
    """Each enters and leaves the span where it likes, and gets what it gets alone in its layers."""
    shape = small_shape(layers=tuple(LayerShape(window_tokens=window, rotary=0) for window in (0, 5, 0, 3)))
    cuts = st.lists(st.integers(0, 4), min_size=2, max_size=2, unique=True).map(sorted)
    spans = [Span(*cut) for cut in data.draw(st.lists(cuts, min_size=2, max_size=6))]
    lengths = [data.draw(st.integers(1, 40)) for _ in spans]
    inputs = [random_hidden(length, shape.hidden, seed) for seed, length in enumerate(lengths)]
    single = small_engine(shape, threads=1, isa="portable")
    expected = [
        single.forward([Chunk(single.new_cache(span), hidden)])[0]
        for span, hidden in zip(spans, inputs, strict=True)
    ]

    engine = small_engine(shape, threads=data.draw(st.integers(1, 3)))
    caches = [engine.new_cache(span) for span in spans]
    while waiting := [i for i, cache in enumerate(caches) if cache.length < lengths[i]]:
        chosen = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True))
        starts = [caches[i].length for i in chosen]
        ends = [data.draw(st.integers(s + 1, lengths[i])) for i, s in zip(chosen, starts, strict=True)]
        chunks = [Chunk(caches[i], inputs[i][s:e]) for i, s, e in zip(chosen, starts, ends, strict=True)]
        for i, s, e, found in zip(chosen, starts, ends, engine.forward(chunks), strict=True):
            np.testing.assert_array_equal(found, expected[i][s:e])


def test_long_prefills_of_other_layers_go_through_several_rounds_and_change_no_bit():
    """A layer's rounds hold only the rows that pass it. Layers that nobody passes are left out."""
    shape = small_shape(layers=(LayerShape(window_tokens=0, rotary=0),) * 5)
    engine = small_engine(shape, threads=2)
    spans = [Span(0, 3), Span(0, 1), Span(1, 3), Span(4, 5), Span(2, 3)]
    inputs = [random_hidden(length, shape.hidden, length) for length in (300, 1, 400, 2, 256)]
    expected = [
        engine.forward([Chunk(engine.new_cache(span), hidden)])[0]
        for span, hidden in zip(spans, inputs, strict=True)
    ]
    together = [Chunk(engine.new_cache(span), hidden) for span, hidden in zip(spans, inputs, strict=True)]

    for one, other in zip(engine.forward(together), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_call_of_several_layer_groups_that_finds_no_room_changes_nothing():
    shape = small_shape()
    engine = small_engine(shape, max_cache_tokens=10)
    whole, last = engine.new_cache(), engine.new_cache(Span(1, 2))
    with pytest.raises(MemoryError, match="cache is full"):
        engine.forward(
            [Chunk(last, random_hidden(7, shape.hidden)), Chunk(whole, random_hidden(7, shape.hidden))]
        )
    assert (whole.length, last.length, engine.cache_layer_tokens) == (0, 0, 0)


def test_more_tokens_than_one_round_holds_change_no_bit():
    """A long prefill, two others beside it, goes through the span in several rounds."""
    shape = small_shape(layers=(LayerShape(window_tokens=0, rotary=0),))
    engine = small_engine(shape, threads=2)
    inputs = [random_hidden(length, shape.hidden, length) for length in (3, 600, 40)]
    expected = [run_in_pieces(engine, hidden, [len(hidden) - 1, 1]) for hidden in inputs]
    found = engine.forward([Chunk(engine.new_cache(), hidden) for hidden in inputs])

    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_rewound_cache_continues_as_if_it_had_never_gone_further():
    """Speculation and replay do this."""
    shape = small_shape()
    engine = small_engine(shape)
    hidden = random_hidden(40, shape.hidden)
    expected = run_in_pieces(engine, hidden, [40])
    cache = engine.new_cache()
    engine.forward([Chunk(cache, random_hidden(60, shape.hidden, seed=9))])
    cache.rewind(0)
    engine.forward([Chunk(cache, hidden[:35])])
    cache.rewind(18)

    np.testing.assert_array_equal(engine.forward([Chunk(cache, hidden[18:])])[0], expected[18:])


def test_a_part_of_the_span_gives_what_an_engine_of_that_part_gives():
    """A route may enter a span in the middle."""
    shape = small_shape()
    hidden = random_hidden(20, shape.hidden)
    engine = small_engine(shape)
    middle = hidden
    for layer in range(2):
        part = Span(layer, layer + 1)
        [middle] = engine.forward([Chunk(engine.new_cache(part), middle)])

    np.testing.assert_array_equal(middle, run_in_pieces(engine, hidden, [20]))


def test_other_libraries_floating_point_modes_do_not_matter():
    """Some libraries flush denormals to zero for the whole process; torch does on request."""
    import torch

    shape = small_shape()
    hidden = random_hidden(5, shape.hidden) * np.float32(1e-38)
    engine = small_engine(shape, threads=1)
    expected = run_in_pieces(engine, hidden, [5])
    torch.set_flush_denormal(True)
    try:
        found = run_in_pieces(engine, hidden, [5])
    finally:
        torch.set_flush_denormal(False)

    np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def words(smollm2: LayerStore) -> Hidden:
    """Embeddings of some tokens of the real model."""
    return ClientEnds.load(smollm2).embed(np.random.default_rng(0).integers(0, 49152, 40))


@pytest.mark.parametrize("spans", [1, 3, 6])
def test_the_real_model_gives_the_same_bytes_in_any_number_of_spans(
    smollm2: LayerStore, words: Hidden, spans: int
):
    """Prefill, then decode, through 1 x 30, 3 x 10 and 6 x 5 layers, against one prefill on one thread."""
    expected = run_in_pieces(NativeEngine.load(smollm2, Span(0, 30), threads=1), words, [40])
    size, found = 30 // spans, words
    for start in range(0, 30, size):
        engine = NativeEngine.load(smollm2, Span(start, start + size), threads=2)
        found = run_in_pieces(engine, found, [33, 1, 1, 5])

    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("isa", ISAS)
def test_the_real_model_gives_the_same_bytes_on_every_instruction_set(
    smollm2: LayerStore, words: Hidden, isa: str
):
    """Only three layers, because portable code is slow."""
    expected = run_in_pieces(NativeEngine.load(smollm2, Span(9, 12), threads=2), words[:8], [8])
    engine = NativeEngine.load(smollm2, Span(9, 12), threads=1, isa=isa)

    np.testing.assert_array_equal(run_in_pieces(engine, words[:8], [7, 1]), expected)
