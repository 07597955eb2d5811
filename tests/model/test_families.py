"""Every family against `transformers` itself: tiny random models with every switch of the family on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Chunk
from p2pinfer.model.families import FAMILIES, ends_recipe, family_of, normalised_config, transformers_config
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.model.tiny_models import (
    ALL_FAMILIES,
    NUM_LAYERS,
    oracle,
    oracle_run,
    random_ids,
    reference,
    relative_difference,
    run_in_pieces,
    tiny_config,
    tiny_store,
)

TOKENS = 23


@pytest.fixture(scope="module", params=ALL_FAMILIES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LayerStore:
    """A tiny model of each family in turn."""
    return tiny_store(tmp_path_factory.mktemp(request.param), request.param)


def test_the_layers_compute_what_transformers_computes_with_the_same_roundings(store: LayerStore):
    """Float32 sums in another order may flip a few bfloat16 roundings, no more."""
    into, expected, _ = oracle_run(oracle(store, rounding=True), random_ids(TOKENS))

    assert relative_difference(run_in_pieces(reference(store), into, [TOKENS]), expected) < 5e-3


def test_the_layers_are_close_to_float32_without_roundings(store: LayerStore):
    """INT8 weights are the model; bfloat16 activations cost about a percent in random weights."""
    into, expected, _ = oracle_run(oracle(store, rounding=False), random_ids(TOKENS))

    assert relative_difference(run_in_pieces(reference(store), into, [TOKENS]), expected) < 3e-2


def test_a_prefill_gives_the_same_bytes_whole_in_pieces_and_token_by_token(store: LayerStore):
    """A replay after a failure continues the same text. Windows are shorter than any piece."""
    engine, hidden = reference(store), ClientEnds.load(store).embed(random_ids(TOKENS))
    whole = run_in_pieces(engine, hidden, [TOKENS])

    np.testing.assert_array_equal(run_in_pieces(engine, hidden, [7, 1, 9, 6]), whole)
    np.testing.assert_array_equal(run_in_pieces(engine, hidden, [1] * TOKENS), whole)


def test_a_sequence_gets_the_same_bytes_alone_and_among_others(store: LayerStore):
    """Chunks of several lengths at several positions share one call."""
    engine, ends = reference(store), ClientEnds.load(store)
    lengths = [(3, 6), (11, 1), (1, 1), (8, 9), (2, 4)]
    sequences = [ends.embed(random_ids(sum(pair), seed)) for seed, pair in enumerate(lengths)]
    alone = [
        run_in_pieces(engine, hidden, list(pair)) for hidden, pair in zip(sequences, lengths, strict=True)
    ]
    caches = [engine.new_cache() for _ in sequences]
    first = [Chunk(c, h[: p[0]]) for c, h, p in zip(caches, sequences, lengths, strict=True)]
    second = [Chunk(c, h[p[0] :]) for c, h, p in zip(caches, sequences, lengths, strict=True)]

    together = [
        np.concatenate(parts) for parts in zip(engine.forward(first), engine.forward(second), strict=True)
    ]

    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cutting_the_layers_elsewhere_changes_no_bit(store: LayerStore):
    """Spans of one, two and three layers, and a cache for the middle of a span."""
    hidden = ClientEnds.load(store).embed(random_ids(TOKENS))
    whole = reference(store)
    expected = run_in_pieces(whole, hidden, [TOKENS])
    by_layer = hidden
    for layer in range(NUM_LAYERS):
        by_layer = run_in_pieces(reference(store, Span(layer, layer + 1)), by_layer, [TOKENS])
    by_cache = hidden
    for part in (Span(0, 1), Span(1, 3), Span(3, NUM_LAYERS)):
        [by_cache] = whole.forward([Chunk(whole.new_cache(part), by_cache)])

    np.testing.assert_array_equal(by_layer, expected)
    np.testing.assert_array_equal(by_cache, expected)


def test_the_ends_embed_like_transformers(store: LayerStore):
    """Family-specific scales included."""
    ids = random_ids(TOKENS)
    into, _, _ = oracle_run(oracle(store, rounding=False), ids)

    np.testing.assert_allclose(ClientEnds.load(store).embed(ids), into, rtol=1e-6)


def test_the_ends_score_like_transformers(store: LayerStore):
    """Final norm, head, softcap and logit scales."""
    _, out, expected = oracle_run(oracle(store, rounding=False), random_ids(TOKENS))

    assert relative_difference(ClientEnds.load(store).logits(out), expected) < 1.5e-2


def test_an_unknown_architecture_is_refused_with_the_list_of_known_ones():
    """The message lists the supported families."""
    with pytest.raises(
        UnsupportedModelError, match=r"not run 'mamba' models; it runs .*gemma2.*llama.*qwen3"
    ):
        family_of({"model_type": "mamba"})


def test_rotary_kinds_that_depend_on_the_longest_sequence_are_refused():
    """A token's bytes would depend on the rest of the batch."""
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}

    with pytest.raises(UnsupportedModelError, match=r"rotary positions by 'dynamic'; p2pinfer runs default"):
        normalised_config(tiny_config("llama", rope_parameters=rope).to_dict())


def longrope(short: list[float], long: list[float]) -> dict[str, object]:
    """Rotary parameters with divisors for short and for long texts."""
    lists = {"short_factor": short, "long_factor": long}
    return {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64, **lists}


def test_longrope_runs_where_its_two_lists_are_one(tmp_path: Path):
    """Then it doesn't depend on the length. Both engines agree with `transformers`."""
    lists = longrope([1.0, 1.5, 2.0, 3.0], [1.0, 1.5, 2.0, 3.0])
    store = tiny_store(tmp_path, "llama", rope_parameters=lists)
    into, expected, _ = oracle_run(oracle(store, rounding=False), random_ids(TOKENS))

    for engine in ("reference", "native"):
        found = run_in_pieces(load_engine(store, store.span, engine=engine), into, [TOKENS])
        assert relative_difference(found, expected) < 6e-2


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (longrope([1.0] * 4, [2.0] * 4), "'longrope'"),
        (longrope([1.0] * 3, [1.0] * 3), "should list 4 positive numbers"),
        (longrope([1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]), "should list 4 positive numbers"),
    ],
)
def test_longrope_is_refused_where_it_depends_on_the_length(lists: dict[str, object], message: str):
    """Also where its lists don't fit the heads."""
    with pytest.raises(UnsupportedModelError, match=message):
        normalised_config(tiny_config("llama", rope_parameters=lists).to_dict())


def test_a_model_that_looks_ahead_is_refused():
    """Gemma 3 can be configured as an encoder."""
    with pytest.raises(UnsupportedModelError, match="both directions"):
        normalised_config(tiny_config("gemma3_text", use_bidirectional_attention=True).to_dict())


def test_a_vision_models_text_part_is_its_config():
    """Gemma 3 from 4B on is published as an image model."""
    text = tiny_config("gemma3_text").to_dict()
    whole = {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 7}}

    assert normalised_config(whole) == normalised_config(text)


@pytest.mark.parametrize("model_type", ALL_FAMILIES)
def test_a_normalised_config_forgets_its_writer(model_type: str):
    """Otherwise each conversion of the same weights would give another model."""
    plain = tiny_config(model_type).to_dict()
    told = plain | {"transformers_version": "9", "_name_or_path": "/a", "dtype": "float16", "auto_map": {}}
    normalised = normalised_config(told)

    assert normalised == normalised_config(plain)
    assert not {"transformers_version", "_name_or_path", "dtype", "auto_map"} & normalised.keys()
    assert normalised_config(normalised) == normalised


def test_every_family_has_a_recipe_for_its_ends():
    """From the normalised config alone, without a library."""
    for model_type in FAMILIES:
        recipe = ends_recipe(normalised_config(tiny_config(model_type).to_dict()))
        assert recipe.norm_eps > 0


def test_the_store_keeps_the_config_readable_without_a_library(tmp_path: Path):
    """Defaults are spelled out: layer types, head size, rotary parameters."""
    fields = tiny_store(tmp_path, "mistral").config_fields

    assert fields["rope_parameters"] == {"rope_theta": 10000.0, "rope_type": "default"}
    assert fields["head_dim"] == 8


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"num_hidden_layers": 10**9}, id="layers"),
        pytest.param({"num_hidden_layers": -1}, id="fewer than none"),
        pytest.param({"hidden_size": 2**40}, id="width"),
        pytest.param({"vocab_size": "many"}, id="a word"),
    ],
)
def test_sizes_that_no_model_has_are_refused_before_anything_is_made_of_that_size(fields: dict[str, Any]):
    """`transformers` makes a list of all layers."""
    with pytest.raises(ModelError, match=f"the config's {next(iter(fields))} can't be"):
        transformers_config({"model_type": "qwen2", **fields})


def test_a_table_of_a_billion_labels_is_not_made():
    """A decoder has none; `transformers` would name each."""
    assert transformers_config({"model_type": "llama", "num_labels": 10**9}).num_labels == 2
