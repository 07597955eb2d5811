"""What a model's config means for the native engine: pure, from config.json's dict to numbers.

Says which families run natively, and why another family doesn't.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pinfer.errors import UnsupportedModelError
from p2pinfer.model.engine.native.rotary import Rotary, read_rotaries

FAMILIES = ("llama", "mistral", "ministral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "granite")
GEMMA = ("gemma", "gemma2", "gemma3_text")
ACTIVATIONS = ("silu", "gelu_pytorch_tanh")
"""In the order of P2P_ACTIVATION_*."""
MAX_HEAD_DIM = 512

LLAMA_NORMS = {"attention": "input_layernorm.weight", "mlp": "post_attention_layernorm.weight"}
GEMMA_NORMS = {
    "attention": "input_layernorm.weight",
    "mlp": "pre_feedforward_layernorm.weight",
    "after_attention": "post_attention_layernorm.weight",
    "after_mlp": "post_feedforward_layernorm.weight",
}
HEAD_NORMS = {"query": "self_attn.q_norm.weight", "key": "self_attn.k_norm.weight"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """What differs between the layers of one model."""

    window_tokens: int  # keys that a query sees, itself included; 0 means all
    rotary: int  # index into NativeShape.rotaries


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeShape:
    """Everything that the engine needs to know about a model, except its tensors."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    attention_scale: float
    attention_softcap: float  # 0 means none
    activation: str  # one of ACTIVATIONS
    norms: Mapping[str, str]  # place -> tensor name within a layer
    norm_offset: float  # added to stored norm weights
    residual_scale: float  # multiplies the outputs of attention and MLP before they join the residual stream
    rotaries: tuple[Rotary, ...]
    layers: tuple[LayerShape, ...]  # of the whole model


def read_shape(config: Mapping[str, Any]) -> NativeShape:
    """Translate a config.json. Raises UnsupportedModelError saying what the engine lacks."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UnsupportedModelError(f"the native engine runs {', '.join(FAMILIES)}, not {family}")
    try:
        return _read_family(str(family), config)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UnsupportedModelError(f"the config is incomplete or out of range: {error!r}") from error


def _read_family(family: str, config: Mapping[str, Any]) -> NativeShape:
    gemma = family in GEMMA
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or hidden // heads)
    activation = str(config.get("hidden_activation") or config.get("hidden_act") or ACTIVATIONS[gemma])
    if activation not in ACTIVATIONS:
        raise UnsupportedModelError(f"the native engine has no activation {activation}")
    if heads % kv_heads or head_dim % 2 or not 2 <= head_dim <= MAX_HEAD_DIM:
        raise UnsupportedModelError(f"the native engine can't split {heads}/{kv_heads} heads of {head_dim}")
    if config.get("use_bidirectional_attention"):
        raise UnsupportedModelError("the native engine runs causal attention only")
    sliding = _sliding_layers(family, config)
    window = int(config.get("sliding_window") or 0)
    rotaries = read_rotaries(config, head_dim)
    return NativeShape(
        hidden=hidden,
        intermediate=int(config["intermediate_size"]),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        epsilon=float(config["rms_norm_eps"]),
        attention_scale=_attention_scale(family, config, head_dim),
        attention_softcap=float(config.get("attn_logit_softcapping") or 0.0) if family == "gemma2" else 0.0,
        activation=activation,
        norms={
            **(GEMMA_NORMS if family in ("gemma2", "gemma3_text") else LLAMA_NORMS),
            **(HEAD_NORMS if family in ("qwen3", "gemma3_text") else {}),
        },
        norm_offset=1.0 if gemma else 0.0,
        residual_scale=float(config["residual_multiplier"]) if family == "granite" else 1.0,
        rotaries=rotaries,
        layers=tuple(
            LayerShape(window_tokens=window if slides else 0, rotary=1 if slides and len(rotaries) > 1 else 0)
            for slides in sliding
        ),
    )


def _attention_scale(family: str, config: Mapping[str, Any], head_dim: int) -> float:
    """The factor that queries are multiplied by."""
    if family == "granite":
        return float(config["attention_multiplier"])
    of = config["query_pre_attn_scalar"] if family in ("gemma2", "gemma3_text") else head_dim
    return 1.0 / math.sqrt(float(of))


def _sliding_layers(family: str, config: Mapping[str, Any]) -> list[bool]:
    """Which layers see only a window of the past. Old configs give a pattern instead of a list of layers."""
    count = int(config["num_hidden_layers"])
    if family in ("llama", "gemma", "granite") or not config.get("sliding_window"):
        return [False] * count
    if family == "mistral":
        return [True] * count
    if types := config.get("layer_types"):
        if len(types) != count or not set(types) <= {"full_attention", "sliding_attention"}:
            raise UnsupportedModelError(f"the native engine can't run layer_types {sorted(set(types))}")
        return [kind == "sliding_attention" for kind in types]
    if family == "gemma2":
        return [layer % 2 == 0 for layer in range(count)]
    if family == "gemma3_text":
        pattern = int(config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6)
        return [(layer + 1) % pattern != 0 for layer in range(count)]
    first = int(config.get("max_window_layers") or 0)
    return [bool(config.get("use_sliding_window")) and layer >= first for layer in range(count)]
