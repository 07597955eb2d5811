"""Rotary positions of GGUF files: what llama.cpp computes from the same metadata.

The expected parameters were compared with llama.cpp (llama-cpp-python 0.3.36): the logits of tiny models in
float32 agree to the precision of its cache, 2e-3, for every row of the tables here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.engine.native.config import read_shape
from p2pinfer.model.families import normalised_config, transformers_config
from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.gguf.rotary import FREQUENCIES, LONG, SHORT
from p2pinfer.model.source import convert_model
from tests.model.formats.gguf.tiny_gguf import plain_model, write_gguf

HEAD_DIM, THETA, CONTEXT = 16, 5000.0, 256
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": THETA,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
OTHERS = np.linspace(1, 3, HEAD_DIM // 2, dtype=np.float32)


def llama3_divisors(theta: float, head_dim: int, factor: float, context: int) -> np.ndarray:
    """What llama.cpp's converter writes for a Llama 3, after Meta's published formula."""
    divisors = []
    for pair in range(head_dim // 2):
        wavelength = 2 * math.pi * theta ** (2 * pair / head_dim)
        if wavelength < context / 4:
            divisors.append(1.0)
        elif wavelength > context:
            divisors.append(factor)
        else:
            smooth = (context / wavelength - 1) / 3
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)


DIVISORS = llama3_divisors(THETA, HEAD_DIM, 8.0, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with heads of 16 columns."""
    return plain_model(tmp_path_factory.mktemp("llama") / "m", "llama", hidden_size=64)


def parameters(
    folder: Path, path: Path, scaling: dict[str, Any], tensors: dict[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """The config's rope_parameters for a file with these fields below `llama.rope.` and these tensors."""
    fields = {f"llama.rope.{name}": value for name, value in scaling.items()}
    config = GgufFile(write_gguf(folder, path, "llama", fields, tensors)).config
    found: dict[str, Any] = dict(normalised_config(config)["rope_parameters"])
    assert found.pop("rope_theta") == THETA
    return found


def listed(divisors: np.ndarray, factor: float = 1.0, attention: float = 1.0) -> dict[str, Any]:
    """A divisor for each pair of columns."""
    values = [float(divisor) * factor for divisor in divisors]
    return {
        "rope_type": "longrope",
        "long_factor": values,
        "short_factor": values,
        "factor": factor,
        "attention_factor": attention,
        "original_max_position_embeddings": CONTEXT,
    }


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ({}, {"rope_type": "default"}),
        ({"scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"scaling.type": "linear", "scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"scaling.type": "linear"}, {"rope_type": "default"}),
        ({"scaling.type": "none", "scaling.factor": 4.0}, {"rope_type": "default"}),
        ({"scaling.factor": 0.0}, {"rope_type": "default"}),
        ({"scaling.factor": 0.5}, {"rope_type": "linear", "factor": 0.5}),
        ({"scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        ({"scale_linear": 2.0, "scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"scale_linear": 2.0, "scaling.factor": 0.0}, {"rope_type": "default"}),
        ({"scaling.attn_factor": 1.25}, listed(np.ones(8), attention=1.25)),
        ({"scaling.attn_factor": 1.25, "scaling.factor": 2.0}, listed(np.ones(8), 2.0, 1.25)),
        (
            {"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.original_context_length": 64},
            YARN,
        ),
        (
            {"scaling.type": "yarn", "scaling.factor": 4.0},
            YARN | {"original_max_position_embeddings": CONTEXT},
        ),
        ({"scaling.type": "yarn"}, {"rope_type": "default"}),
        (
            {
                "scaling.type": "yarn",
                "scaling.factor": 4.0,
                "scaling.original_context_length": 64,
                "scaling.attn_factor": 1.25,
            },
            YARN | {"attention_factor": 1.25 * (0.1 * math.log(4.0) + 1)},
        ),
        ({"scaling.type": "longrope", "scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"scaling.type": "longrope"}, {"rope_type": "default"}),
        ({"scaling.finetuned": True, "scaling.factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        ({"dimension_count": HEAD_DIM}, {"rope_type": "default"}),
    ],
)
def test_scaled_positions_mean_what_they_mean_to_llama_cpp(
    folder: Path, tmp_path: Path, scaling: dict[str, Any], expected: dict[str, Any]
):
    """With and without a type, a factor, a first context and an attention factor."""
    assert parameters(folder, tmp_path / "m.gguf", scaling) == expected


@pytest.mark.parametrize(
    ("scaling", "tensors", "expected"),
    [
        ({}, {FREQUENCIES: OTHERS}, listed(OTHERS)),
        ({"scaling.factor": 2.0}, {FREQUENCIES: OTHERS}, listed(OTHERS, 2.0)),
        ({"scaling.factor": 2.0}, {FREQUENCIES: DIVISORS}, listed(DIVISORS, 2.0)),
        ({"scaling.type": "none", "scaling.factor": 2.0}, {FREQUENCIES: OTHERS}, listed(OTHERS)),
        ({"scaling.type": "longrope"}, {LONG: OTHERS, SHORT: OTHERS}, listed(OTHERS)),
        ({"scaling.type": "longrope"}, {LONG: DIVISORS, SHORT: OTHERS}, listed(OTHERS)),
    ],
)
def test_tensors_of_divisors_are_used(
    folder: Path,
    tmp_path: Path,
    scaling: dict[str, Any],
    tensors: dict[str, np.ndarray],
    expected: dict[str, Any],
):
    """A model whose context isn't longer than the first one always uses its short factors."""
    assert parameters(folder, tmp_path / "m.gguf", scaling, tensors) == expected


@pytest.mark.parametrize(
    ("theta", "head_dim", "factor", "context"),
    [
        (500_000.0, 128, 8.0, 8192),  # Llama 3.1 and 3.3
        (500_000.0, 64, 32.0, 8192),  # Llama 3.2 1B
        (500_000.0, 128, 32.0, 8192),  # Llama 3.2 3B
        (THETA, HEAD_DIM, 8.0, 64),
    ],
)
def test_the_divisors_of_a_llama_3_become_the_four_numbers_of_its_checkpoint(
    tmp_path: Path, theta: float, head_dim: int, factor: float, context: int
):
    """So that the file and the checkpoint are one model to the swarm."""
    rope = {"rope_type": "default", "rope_theta": theta}
    folder = plain_model(
        tmp_path / "m", "llama", hidden_size=4 * head_dim, num_hidden_layers=1, rope_parameters=rope
    )
    divisors = llama3_divisors(theta, head_dim, factor, context)
    write_gguf(folder, tmp_path / "m.gguf", "llama", tensors={FREQUENCIES: divisors})

    assert GgufFile(tmp_path / "m.gguf").config["rope_parameters"] == {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": context,
    }


def test_a_llama_3_and_its_gguf_file_give_the_same_layers_and_numbers(tmp_path: Path):
    """The checkpoint says rope_scaling, the file has rope_freqs.weight."""
    folder = plain_model(tmp_path / "m", "llama", hidden_size=64, rope_parameters=LLAMA3)
    write_gguf(folder, tmp_path / "m.gguf", "llama", tensors={FREQUENCIES: DIVISORS})
    one = convert_model(str(folder), tmp_path / "one", lambda line: None)
    other = convert_model(str(tmp_path / "m.gguf"), tmp_path / "other", lambda line: None)
    layers = [name for name in one.manifest.files if name.endswith(".safetensors")]

    assert other.config_fields["rope_parameters"] == one.config_fields["rope_parameters"] == LLAMA3
    assert [one.manifest.files[name] for name in layers] == [other.manifest.files[name] for name in layers]


@pytest.mark.parametrize(
    ("scaling", "tensors", "message"),
    [
        (
            {"scaling.type": "su"},
            {},
            r"positions by 'su' \(llama.rope.scaling.type\), and p2pinfer knows none",
        ),
        (
            {"scaling.type": "yarn", "scaling.factor": 2.0},
            {FREQUENCIES: OTHERS},
            "by 'yarn' and by rope_freqs",
        ),
        (
            {"scaling.type": "longrope", "scaling.original_context_length": 64},
            {LONG: OTHERS, SHORT: DIVISORS},
            "other factors beyond 64 tokens",
        ),
        ({"scaling.type": "longrope"}, {FREQUENCIES: OTHERS}, "has rope_freqs.weight, which"),
        ({}, {LONG: OTHERS, SHORT: OTHERS}, "has rope_factors_long.weight, which"),
        ({}, {FREQUENCIES: OTHERS[:-1]}, "7 rotary divisors, and heads of 16 columns need 8"),
        ({}, {FREQUENCIES: OTHERS * np.float32(np.inf)}, "divisor that is not a positive number"),
        ({}, {FREQUENCIES: OTHERS * 0}, "divisor that is not a positive number"),
        ({"scaling.factor": math.nan}, {}, "rope.scaling.factor is nan"),
        ({"scaling.factor": -2.0}, {}, "rope.scaling.factor is -2.0"),
        ({"freq_base": 0.0}, {}, "rope.freq_base is 0.0"),
        ({"dimension_count": 8}, {}, "turns 8 of a head's 16 columns"),
    ],
)
def test_what_can_not_be_computed_faithfully_is_refused_by_name(
    folder: Path, tmp_path: Path, scaling: dict[str, Any], tensors: dict[str, np.ndarray], message: str
):
    with pytest.raises(ModelError, match=message):
        parameters(folder, tmp_path / "m.gguf", scaling, tensors)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_other_architectures_scale_likewise_and_have_no_tensors_of_divisors(
    tmp_path: Path, architecture: str
):
    """llama.cpp refuses a Qwen with such a tensor."""
    folder = plain_model(tmp_path / "m", architecture)
    fields = {f"{architecture}.rope.scaling.factor": 4.0}
    config = GgufFile(write_gguf(folder, tmp_path / "m.gguf", architecture, fields)).config
    write_gguf(folder, tmp_path / "n.gguf", architecture, tensors={FREQUENCIES: OTHERS})

    assert config["rope_parameters"] == {"rope_type": "linear", "rope_theta": THETA, "factor": 4.0}
    with pytest.raises(UnsupportedModelError, match=r"a plain qwen\d model doesn't: rope_freqs.weight"):
        GgufFile(tmp_path / "n.gguf")


def test_both_engines_turn_by_listed_divisors_alike(folder: Path, tmp_path: Path):
    """The native engine has its own frequencies, the reference engine takes those of `transformers`."""
    fields = {"llama.rope.scaling.factor": 2.0, "llama.rope.scaling.attn_factor": 1.5}
    path = write_gguf(folder, tmp_path / "m.gguf", "llama", fields, {FREQUENCIES: OTHERS})
    config = normalised_config(GgufFile(path).config)
    expected = LlamaRotaryEmbedding(transformers_config(config))
    [found] = read_shape(config).rotaries
    plain = THETA ** (-2 * np.arange(HEAD_DIM // 2) / HEAD_DIM)

    np.testing.assert_allclose(found.frequencies, plain / OTHERS / 2, rtol=2e-6)
    np.testing.assert_allclose(found.frequencies, expected.inv_freq.numpy(), rtol=2e-6)
    assert found.factor == expected.attention_scaling == 1.5
