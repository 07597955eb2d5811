"""The reference engine on the small real model: exactness, memory, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from p2pinfer.model.blueprint import blueprint
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine.base import Chunk, Engine, Hidden
from p2pinfer.model.engine.reference.torch_cache import GROWTH_TOKENS, TorchCache
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.model.tiny_models import reference, run_in_pieces, tiny_store


@pytest.fixture(scope="module")
def engine(smollm2: LayerStore) -> Engine:
    """Six layers of the real model."""
    return reference(smollm2, Span(0, 6))


@pytest.fixture(scope="module")
def hidden(smollm2: LayerStore) -> Hidden:
    """Embeddings of forty tokens of the real model."""
    return ClientEnds.load(smollm2).embed(np.random.default_rng(0).integers(0, 49152, 40))


@pytest.fixture
def tiny(tmp_path: Path) -> Engine:
    """Four tiny layers."""
    return reference(tiny_store(tmp_path, "llama"))


@pytest.mark.parametrize("spans", [1, 3, 6])
def test_the_whole_real_model_gives_the_same_bytes_in_any_number_of_spans(
    smollm2: LayerStore, hidden: Hidden, spans: int
):
    """Prefill, then decode, through 1 x 30, 3 x 10 and 6 x 5 layers."""
    pieces = [9, 1, 1]
    size = 30 // spans
    expected = run_in_pieces(reference(smollm2), hidden[:11], [11])
    found = hidden[:11]
    for start in range(0, 30, size):
        found = run_in_pieces(reference(smollm2, Span(start, start + size)), found, pieces)

    np.testing.assert_array_equal(found, expected)


def test_five_sequences_together_get_the_bytes_they_get_alone(engine: Engine, hidden: Hidden):
    """On the real model's shapes, where kernels work in blocks."""
    cuts = [(0, 3), (3, 4), (4, 20), (20, 22), (22, 40)]
    alone = [engine.forward([Chunk(engine.new_cache(), hidden[a:b])])[0] for a, b in cuts]
    together = engine.forward([Chunk(engine.new_cache(), hidden[a:b]) for a, b in cuts])

    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_sequences_of_other_layers_in_the_batch_change_no_bit(engine: Engine, hidden: Hidden):
    """Routes enter and leave the span where they like; each gets what it gets alone, in every piece."""
    spans = [Span(0, 6), Span(2, 4), Span(0, 1), Span(3, 6), Span(4, 5), Span(2, 6)]
    cuts = [(0, 12), (12, 24), (3, 9), (20, 40), (5, 6), (30, 37)]
    alone = [
        engine.forward([Chunk(engine.new_cache(span), hidden[a:b])])[0]
        for span, (a, b) in zip(spans, cuts, strict=True)
    ]
    caches = [engine.new_cache(span) for span in spans]
    found: list[list[Hidden]] = [[] for _ in spans]
    for tokens in (1, 4, 1, 40):
        chunks, whose = [], []
        for index, (cache, (a, b)) in enumerate(zip(caches, cuts, strict=True)):
            if a + cache.length < b:
                chunks.append(Chunk(cache, hidden[a + cache.length : min(b, a + cache.length + tokens)]))
                whose.append(index)
        for index, output in zip(whose, engine.forward(chunks), strict=True):
            found[index].append(output)

    for parts, expected in zip(found, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_the_cut_of_a_prefill_changes_no_bit(engine: Engine, hidden: Hidden):
    """At once, in pieces, token by token, and with a rewind between."""
    whole = run_in_pieces(engine, hidden, [40])
    cache = engine.new_cache()
    engine.forward([Chunk(cache, hidden[:30])])
    cache.rewind(17)
    [after] = engine.forward([Chunk(cache, hidden[17:])])

    np.testing.assert_array_equal(run_in_pieces(engine, hidden, [25, 1, 14]), whole)
    np.testing.assert_array_equal(run_in_pieces(engine, hidden, [1] * 40), whole)
    np.testing.assert_array_equal(after, whole[17:])


def test_the_number_of_threads_changes_no_bit(engine: Engine, hidden: Hidden):
    """A spare with other processors continues the text."""
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(run_in_pieces(engine, hidden, [40]))
    torch.set_num_threads(before)

    np.testing.assert_array_equal(results[0], results[1])


def test_weights_in_memory_take_at_most_eleven_tenths_of_a_byte_each(smollm2: LayerStore, engine: Engine):
    """Measured on the modules, not taken from the engine."""
    layers = engine._layers  # type: ignore[attr-defined]
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for layer in layers
        for module in layer.modules()
        for tensor in (*module.parameters(recurse=False), *vars(module).values())
        if isinstance(tensor, torch.Tensor)
    }
    described = blueprint(smollm2.config(), 0)
    linear = len(layers) * sum(np.prod(described.shapes[name]) for name in described.linear_weights)

    assert sum(held.values()) <= 1.1 * linear
    assert abs(engine.weight_bytes - linear) <= 0.1 * linear


def test_a_cache_takes_memory_as_tokens_come_and_gives_it_back(tiny: Engine):
    """In pages, with at most a quarter unused."""
    cache = tiny.new_cache()
    assert isinstance(cache, TorchCache)
    sizes = []
    for _ in range(20):
        tiny.forward([Chunk(cache, np.ones((23, 32), np.float32))])
        sizes.append(cache.memory_bytes)
    most = (20 * 23 * 1.25 + GROWTH_TOKENS) * tiny.cache_bytes_per_token
    cache.release()
    cache.release()

    assert sizes[0] == GROWTH_TOKENS * tiny.cache_bytes_per_token
    assert 20 * 23 * tiny.cache_bytes_per_token <= sizes[-1] <= most
    assert cache.memory_bytes == 0


def test_a_cache_released_during_a_step_lets_the_step_finish(tiny: Engine):
    """The end of a session and the compute thread don't wait for each other."""
    cache = tiny.new_cache()
    assert isinstance(cache, TorchCache)
    cache.begin(3)
    cache.release()
    held = cache.memory_bytes
    cache.end(3)

    assert held > 0
    assert cache.memory_bytes == 0


def test_a_released_cache_is_refused(tiny: Engine):
    cache = tiny.new_cache()
    cache.release()

    with pytest.raises(ValueError, match="released"):
        tiny.forward([Chunk(cache, np.ones((1, 32), np.float32))])


def test_a_failed_step_leaves_every_cache_as_it_was(tiny: Engine):
    """The second chunk is impossible; the first one has not been counted."""
    good, bad = tiny.new_cache(), tiny.new_cache()
    tiny.forward([Chunk(good, np.ones((2, 32), np.float32))])
    bad.release()
    with pytest.raises(ValueError, match="released"):
        tiny.forward([Chunk(good, np.ones((3, 32), np.float32)), Chunk(bad, np.ones((1, 32), np.float32))])
    [after] = tiny.forward([Chunk(good, np.ones((1, 32), np.float32))])
    expected = run_in_pieces(tiny, np.ones((3, 32), np.float32), [2, 1])

    assert good.length == 3
    np.testing.assert_array_equal(after, expected[2:])


def test_a_cache_twice_in_one_call_is_refused(tiny: Engine):
    """Its chunks would need to run one after the other."""
    cache = tiny.new_cache()
    chunk = Chunk(cache, np.ones((1, 32), np.float32))

    with pytest.raises(ValueError, match="twice"):
        tiny.forward([chunk, chunk])
    assert cache.length == 0


def test_chunks_of_another_shape_are_refused(tiny: Engine):
    for wrong in (np.ones((1, 31)), np.ones((0, 32)), np.ones(32)):
        with pytest.raises(ValueError, match="a chunk is"):
            tiny.forward([Chunk(tiny.new_cache(), wrong.astype(np.float32))])


def test_a_cache_cannot_rewind_past_its_ends(tiny: Engine):
    """Neither forward nor before the beginning."""
    cache = tiny.new_cache()
    tiny.forward([Chunk(cache, np.ones((2, 32), np.float32))])

    for length in (-1, 3):
        with pytest.raises(ValueError, match="can't go back"):
            cache.rewind(length)


def test_input_is_not_modified(tiny: Engine):
    """The caller may keep it for a replay."""
    hidden = np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32)
    kept = hidden.copy()
    hidden.setflags(write=False)
    tiny.forward([Chunk(tiny.new_cache(), hidden)])

    np.testing.assert_array_equal(hidden, kept)
