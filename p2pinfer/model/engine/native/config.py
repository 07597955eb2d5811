"""What a model's config means for the native engine: pure, from config.json's dict to numbers.

Says which families run natively and why another one doesn't. Frequencies of rotary embeddings are
computed with `decimal`, whose powers are the same on every machine; the C library's are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import UnsupportedModelError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "granite")
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
class Rotary:
    """Angles per position, and what their cosines and sines are multiplied by."""

    frequencies: NDArray[np.float32]  # [head_dim / 2], radians per position
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """In what one layer differs from its neighbours."""

    window_tokens: int  # keys that a query sees, itself included; 0 means all
    rotary: int  # index into NativeShape.rotaries


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeShape:
    """All that the engine needs to know of a model besides its tensors."""

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
    norm_offset: float  # what is added to stored norm weights
    residual_scale: float  # what attention and MLP are multiplied by before they join the residual stream
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
    rotaries = _read_rotaries(config, head_dim)
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
    """What queries are multiplied by."""
    if family == "granite":
        return float(config["attention_multiplier"])
    of = config["query_pre_attn_scalar"] if family in ("gemma2", "gemma3_text") else head_dim
    return 1.0 / math.sqrt(float(of))


def _sliding_layers(family: str, config: Mapping[str, Any]) -> list[bool]:
    """Which layers see a window of the past only. Old configs name a pattern instead of the layers."""
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


def _read_rotaries(config: Mapping[str, Any], head_dim: int) -> tuple[Rotary, ...]:
    """One rotary embedding for all layers, or one for full and one for sliding layers."""
    parameters = config.get("rope_parameters")
    if parameters is None:  # the form of configs before transformers 5
        parameters = {"rope_theta": config.get("rope_theta", 10000.0), **(config.get("rope_scaling") or {})}
        if "rope_local_base_freq" in config:
            local = {"rope_theta": config["rope_local_base_freq"]}
            parameters = {"full_attention": parameters, "sliding_attention": local}
    if "full_attention" in parameters:
        kinds = ("full_attention", "sliding_attention")
        return tuple(_read_rotary(parameters[kind], config, head_dim) for kind in kinds)
    return (_read_rotary(parameters, config, head_dim),)


def _read_rotary(parameters: Mapping[str, Any], config: Mapping[str, Any], head_dim: int) -> Rotary:
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if float(parameters.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0) != 1.0:
        raise UnsupportedModelError("the native engine rotates whole heads only")
    plain = _plain_frequencies(float(parameters["rope_theta"]), head_dim)
    factor = 1.0
    if kind == "default":
        scaled = plain
    elif kind == "linear":
        scaled = plain / float(parameters["factor"])
    elif kind == "llama3":
        scaled = _llama3(plain, parameters, config)
    elif kind == "yarn":
        scaled, factor = _yarn(plain, parameters, head_dim)
    else:
        raise UnsupportedModelError(f"the native engine has no rotary embedding of type {kind}")
    return Rotary(frequencies=scaled.astype(np.float32), factor=factor)


def _plain_frequencies(theta: float, head_dim: int) -> NDArray[np.float64]:
    """theta^(-2i / head_dim), correctly rounded (RoFormer, https://arxiv.org/abs/2104.09864)."""
    context, base = Context(prec=30), Decimal(theta)
    exponents = (Decimal(-2 * i) / Decimal(head_dim) for i in range(head_dim // 2))
    return np.array([float(context.power(base, exponent)) for exponent in exponents], dtype=np.float64)


def _llama3(
    plain: NDArray[np.float64], parameters: Mapping[str, Any], config: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Llama 3.1: slow rotations are stretched by `factor`, fast ones kept, those between blended."""
    low, high = float(parameters["low_freq_factor"]), float(parameters["high_freq_factor"])
    trained = float(parameters.get("original_max_position_embeddings") or config["max_position_embeddings"])
    turns = trained * plain / (2 * math.pi)  # in the context that the model was first trained on
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    scaled: NDArray[np.float64] = plain * (kept + (1 - kept) / float(parameters["factor"]))
    return scaled


def _yarn(
    plain: NDArray[np.float64], parameters: Mapping[str, Any], head_dim: int
) -> tuple[NDArray[np.float64], float]:
    """YaRN (https://arxiv.org/abs/2309.00071): the blend runs over dimensions instead of turns."""
    if parameters.get("mscale") or parameters.get("mscale_all_dim"):
        raise UnsupportedModelError("the native engine has no YaRN with mscale")
    factor, theta = float(parameters["factor"]), Decimal(float(parameters["rope_theta"]))
    trained = float(parameters["original_max_position_embeddings"])
    context = Context(prec=30)

    def natural_log(value: float | Decimal) -> float:
        return float(context.ln(Decimal(value)))

    def dimension_with(turns: float) -> float:
        return head_dim * natural_log(trained / (turns * 2 * math.pi)) / (2 * natural_log(theta))

    first = dimension_with(float(parameters.get("beta_fast") or 32))
    last = dimension_with(float(parameters.get("beta_slow") or 1))
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_dim - 1)
    ramp = (np.arange(head_dim // 2) - first) / ((last - first) or 0.001)
    stretched = np.clip(ramp, 0.0, 1.0)
    scaled: NDArray[np.float64] = plain * (1 - stretched) + plain / factor * stretched
    attention = parameters.get("attention_factor")
    if attention is None:
        attention = 0.1 * natural_log(factor) + 1.0 if factor > 1 else 1.0
    return scaled, float(attention)
