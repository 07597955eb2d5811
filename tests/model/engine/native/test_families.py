"""The native engine against `transformers` itself, for every family that it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from p2pinfer.errors import StoreError, UnsupportedModelError
from p2pinfer.hadamard import rotate
from p2pinfer.model.engine.native import engine as native
from p2pinfer.model.engine.native.config import FAMILIES, read_shape
from p2pinfer.model.engine.native.engine import NativeEngine
from p2pinfer.types import Span
from tests.model.engine.native.oracle import (
    quantized,
    relative_difference,
    run_in_pieces,
    small_engine,
    small_shape,
)
from tests.model.tiny_models import ALL_FAMILIES, oracle, oracle_run, random_ids, tiny_config, tiny_store


def round_inputs(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """What the engine's products see, rotated back: transformers' weights are the original ones."""
    return torch.from_numpy(rotate(quantized(inputs[0].numpy())))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_agrees_with_transformers(tmp_path: Path, family: str):
    """Its own modules, their linear layers' inputs rounded to 8 bits as the engine does.

    Of nine sequences, three or more agree to float32's precision. In the others an activation that lies
    between two 8-bit values may have rounded to the other one, which these tiny, steep models amplify.
    """
    store = tiny_store(tmp_path, family)
    model = oracle(store, rounding=False)
    for layer in model.model.layers:
        for module in layer.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_pre_hook(round_inputs)
    engine = NativeEngine.load(store, store.span, threads=2)
    differences = []
    for seed in range(9):
        given, expected, _ = oracle_run(model, random_ids(12, seed))
        differences.append(relative_difference(run_in_pieces(engine, given, [6, 1, 5]), expected))

    assert sorted(differences)[2] < 1e-5, differences
    assert max(differences) < 0.05, differences
    assert native.supports(store.config_fields) is None


@pytest.mark.parametrize("family", sorted(set(ALL_FAMILIES) - set(FAMILIES)))
def test_other_families_are_left_to_the_reference_engine(family: str):
    reason = native.supports(tiny_config(family).to_dict())

    assert reason is not None
    assert f"not {family}" in reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hidden_act": "relu"}, "no activation relu"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4}},
            "rotary embedding of type dynamic",
        ),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "whole heads only"),
        ({"head_dim": 514}, "can't split"),
        ({"head_dim": 7}, "can't split"),
        ({"num_attention_heads": 5}, "can't split"),
        ({"hidden_size": "wide"}, "incomplete or out of range"),
        ({"rms_norm_eps": None}, "incomplete or out of range"),
        ({"use_bidirectional_attention": True}, "causal attention only"),
    ],
)
def test_what_the_engine_lacks_is_said(fields: dict[str, object], reason: str):
    config = tiny_config("llama").to_dict() | fields
    said = native.supports(config)

    assert said is not None
    assert reason in said
    with pytest.raises(UnsupportedModelError, match=reason):
        read_shape(config)


def test_configs_from_before_transformers_five_mean_the_same():
    """They name rotary bases and sliding layers differently."""
    new = tiny_config("gemma3_text", num_hidden_layers=8, layer_types=None).to_dict()
    old = dict(new, rope_theta=10000.0, rope_scaling={"rope_type": "linear", "factor": 8.0})
    old |= {"rope_local_base_freq": 100.0, "sliding_window_pattern": 6}
    del old["rope_parameters"], old["layer_types"]
    one, other = read_shape(new), read_shape(old)

    assert one.layers == other.layers
    for rotary, same in zip(one.rotaries, other.rotaries, strict=True):
        np.testing.assert_array_equal(rotary.frequencies, same.frequencies)


@pytest.mark.parametrize(
    "parameters",
    [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 4.0},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "truncate": False},
    ],
)
def test_rotary_frequencies_agree_with_transformers(parameters: dict[str, object]):
    """All kinds that depend on the position alone."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = tiny_config("llama", head_dim=64, rope_parameters={"rope_theta": 1e4, **parameters})
    expected = LlamaRotaryEmbedding(config)
    [found] = read_shape(config.to_dict()).rotaries

    np.testing.assert_allclose(found.frequencies, expected.inv_freq.numpy(), rtol=2e-6)
    assert found.factor == pytest.approx(expected.attention_scaling)


def test_tensors_that_do_not_fit_the_config_are_refused(tmp_path: Path):
    """A missing tensor, an extra tensor, another shape or type: the message names it."""
    store = tiny_store(tmp_path, "llama")
    engine = NativeEngine(read_shape(store.config_fields), Span(0, 2))
    whole = dict(store.layer_tensors(0))
    name = "self_attn.k_proj.weight"
    for wrong, said in (
        ({key: value for key, value in whole.items() if key != name}, f"lacks {name}"),
        (whole | {"extra.weight": whole[name]}, "extra.weight"),
        (whole | {name: whole[name][:-1]}, f"{name} should be int8"),
        (whole | {name: whole[name].astype(np.float32)}, f"{name} should be int8"),
    ):
        with pytest.raises(StoreError, match=said):
            engine.fill_layer(0, wrong)


def test_a_span_beyond_the_model_is_refused():
    """Instead of reading layers that don't exist."""
    with pytest.raises(ValueError, match="has 2 layers"):
        NativeEngine(small_shape(), Span(1, 3))


def test_a_model_with_missing_layers_does_not_run():
    """An engine without all of its tensors refuses to run."""
    from p2pinfer.model.engine.base import Chunk

    engine = NativeEngine(small_shape(), Span(0, 2))
    with pytest.raises(RuntimeError, match="before every tensor was set"):
        engine.forward([Chunk(engine.new_cache(), np.ones((1, 40), np.float32))])
    assert small_engine(small_shape()).numerics == native.NUMERICS
