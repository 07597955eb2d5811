"""What the native engine computes, written down plainly in float64, for shapes of any kind.

Weights are those of a store: INT8 rows of matrices that were rotated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from p2pinfer.hadamard import GROUP, rotate
from p2pinfer.model.engine.base import Chunk, Hidden
from p2pinfer.model.engine.native.config import HEAD_NORMS, LLAMA_NORMS, LayerShape, NativeShape
from p2pinfer.model.engine.native.engine import NativeEngine
from p2pinfer.model.engine.native.library import available_isas, unavailable_reason
from p2pinfer.model.engine.native.rotary import Rotary
from p2pinfer.types import Span

if reason := unavailable_reason():
    pytest.skip(reason, allow_module_level=True)

ISAS = available_isas()
Array = NDArray[Any]


def small_shape(**fields: Any) -> NativeShape:
    """A model of two layers with odd sizes; override what matters."""
    head_dim = fields.get("head_dim", 6)
    plain = {
        "hidden": 40,
        "intermediate": 52,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": head_dim,
        "epsilon": 1e-5,
        "attention_scale": head_dim**-0.5,
        "attention_softcap": 0.0,
        "activation": "silu",
        "norms": LLAMA_NORMS | HEAD_NORMS,
        "norm_offset": 0.0,
        "residual_scale": 1.0,
        "rotaries": (Rotary(frequencies=0.7 ** np.arange(head_dim // 2, dtype=np.float32), factor=1.0),),
        "layers": (LayerShape(window_tokens=0, rotary=0), LayerShape(window_tokens=5, rotary=0)),
    }
    return NativeShape(**plain | fields)


def random_tensors(shape: NativeShape, seed: int, *, biases: bool = True) -> dict[str, Array]:
    """One layer's tensors as a store holds them."""
    rng = np.random.default_rng(seed)
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sizes = {"self_attn.q_proj": (queries, shape.hidden), "self_attn.o_proj": (shape.hidden, queries)}
    sizes |= dict.fromkeys(("self_attn.k_proj", "self_attn.v_proj"), (keys, shape.hidden))
    sizes |= dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (shape.intermediate, shape.hidden))
    sizes["mlp.down_proj"] = (shape.hidden, shape.intermediate)
    tensors: dict[str, Array] = {}
    for name, (outputs, inputs) in sizes.items():
        tensors[f"{name}.weight"] = rng.integers(-127, 128, (outputs, inputs), dtype=np.int8)
        scale = rng.uniform(0.5, 1.5, outputs) / (73 * inputs**0.5)
        tensors[f"{name}.weight_scale"] = scale.astype(np.float32)
        if biases:
            tensors[f"{name}.bias"] = (0.1 * rng.standard_normal(outputs)).astype(np.float32)
    for place, name in shape.norms.items():
        width = shape.head_dim if place in ("query", "key") else shape.hidden
        tensors[name] = rng.uniform(0.5, 1.5, width).astype(np.float32)
    return tensors


def random_hidden(tokens: int, width: int, seed: int = 0) -> Hidden:
    """Activations of some tokens, a few of them large, as in real models."""
    rng = np.random.default_rng(seed)
    spread = rng.choice([0.3, 1.0, 8.0], width)
    return (rng.standard_normal((tokens, width)) * spread).astype(np.float32)


def small_engine(shape: NativeShape, **options: Any) -> NativeEngine:
    """The shape's model with random weights."""
    engine = NativeEngine(shape, Span(0, len(shape.layers)), **options)
    for layer in range(len(shape.layers)):
        engine.fill_layer(layer, random_tensors(shape, seed=layer))
    return engine


def run_in_pieces(engine: NativeEngine, hidden: Hidden, pieces: list[int]) -> Hidden:
    """One sequence in chunks of these lengths."""
    cache, outputs = engine.new_cache(), []
    for part in np.split(hidden, np.cumsum(pieces)[:-1]):
        outputs += engine.forward([Chunk(cache, part)])
    cache.release()
    return np.concatenate(outputs)


def quantized(x: Array) -> Array:
    """Activations as the engine sees them: rotated, 8 bits with one scale per group of 64.

    Rotated and rounded in float32, so that what lies halfway between two bytes becomes the engine's.
    """
    x = rotate(np.asarray(x, np.float32))
    rounded = np.empty(x.shape, np.float64)
    for start in range(0, x.shape[-1], GROUP):
        group = x[..., start : start + GROUP]
        most = np.abs(group).max(axis=-1, keepdims=True)
        most = np.where(most > 0, most, np.float32(1))
        scale, inverse = most / np.float32(127), np.float32(127) / most
        rounded[..., start : start + GROUP] = np.rint(group * inverse) * scale
    return rounded


def model_oracle(shape: NativeShape, hidden: Hidden) -> Array:
    """One sequence through small_engine's layers, prefilled at once."""
    x = hidden.astype(np.float64)
    for index, layer in enumerate(shape.layers):
        x = _layer_oracle(shape, layer, random_tensors(shape, seed=index), x)
    return x


def _layer_oracle(shape: NativeShape, layer: LayerShape, tensors: Mapping[str, Array], x: Array) -> Array:
    def linear(name: str, value: Array) -> Array:
        weight = tensors[f"{name}.weight"] * tensors[f"{name}.weight_scale"][:, None].astype(np.float64)
        return quantized(value) @ weight.T + tensors[f"{name}.bias"]

    def norm(place: str, value: Array) -> Array:
        if place not in shape.norms:
            return value
        inverse = 1 / np.sqrt(np.square(value).mean(-1, keepdims=True) + shape.epsilon)
        return value * inverse * (tensors[shape.norms[place]] + shape.norm_offset)

    def heads(value: Array) -> Array:
        return value.reshape(len(x), -1, shape.head_dim)

    normed = norm("attention", x)
    queries = norm("query", heads(linear("self_attn.q_proj", normed)))
    keys = norm("key", heads(linear("self_attn.k_proj", normed)))
    values = heads(linear("self_attn.v_proj", normed))
    rotary = shape.rotaries[layer.rotary]
    queries, keys = _rotate(queries, rotary), _rotate(keys, rotary)
    position = np.arange(len(x))
    distance = position[:, None] - position
    seen = (distance >= 0) & ((distance < layer.window_tokens) | (layer.window_tokens == 0))
    mixed = np.empty_like(queries)
    for head in range(shape.heads):
        group = head * shape.kv_heads // shape.heads
        scores = queries[:, head] @ keys[:, group].T * shape.attention_scale
        if shape.attention_softcap:
            scores = np.tanh(scores / shape.attention_softcap) * shape.attention_softcap
        weights = np.where(seen, np.exp(scores - scores.max(-1, keepdims=True)), 0)
        mixed[:, head] = weights / weights.sum(-1, keepdims=True) @ values[:, group]
    update = linear("self_attn.o_proj", mixed.reshape(len(x), -1))
    x = x + norm("after_attention", update) * shape.residual_scale
    normed = norm("mlp", x)
    gate, up = linear("mlp.gate_proj", normed), linear("mlp.up_proj", normed)
    if shape.activation == "silu":
        gate = gate / (1 + np.exp(-gate))
    else:
        gate = gate / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (gate + 0.044715 * gate**3)))
    return x + norm("after_mlp", linear("mlp.down_proj", gate * up)) * shape.residual_scale


def _rotate(x: Array, rotary: Rotary) -> Array:
    angles = (np.arange(len(x), dtype=np.float32)[:, None] * rotary.frequencies).astype(np.float64)
    cos, sin = (function(angles)[:, None] * rotary.factor for function in (np.cos, np.sin))
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)


def relative_difference(found: Array, expected: Array) -> float:
    """Norm of the difference over the norm of what was expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
