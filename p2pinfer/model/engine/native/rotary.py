"""Rotary embeddings of a config as frequencies. Pure.

Frequencies are computed with `decimal`, whose powers are the same on every machine. The C library's are not.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotary:
    """One rotary embedding: angles per position, and a factor for their cosines and sines."""

    frequencies: NDArray[np.float32]  # [head_dim / 2], radians per position
    factor: float


def read_rotaries(config: Mapping[str, Any], head_dim: int) -> tuple[Rotary, ...]:
    """One rotary embedding for all layers, or two: for full layers and for sliding layers.

    Raises UnsupportedModelError for a kind that the engine lacks; KeyError, TypeError, ValueError or
    ArithmeticError for a config that is incomplete or out of range.
    """
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
    elif kind == "longrope":
        scaled, factor = _listed(plain, parameters, config)
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
    """Llama 3.1: slow rotations are stretched by `factor`, fast ones are kept, the others are blended."""
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


def _listed(
    plain: NDArray[np.float64], parameters: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[NDArray[np.float64], float]:
    """LongRoPE (https://arxiv.org/abs/2402.13753) with one list of divisors for texts of every length."""
    divisors = np.array(parameters["short_factor"], np.float64)
    if parameters["long_factor"] != parameters["short_factor"]:
        raise UnsupportedModelError("the native engine has no rotary embedding that depends on the length")
    if divisors.shape != plain.shape:
        raise UnsupportedModelError(f"the config lists {divisors.shape} rotary factors, not {plain.shape}")
    attention = parameters.get("attention_factor")
    if attention is None:
        trained = float(parameters["original_max_position_embeddings"])
        factor = float(parameters.get("factor") or config["max_position_embeddings"] / trained)
        attention = math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0
    return plain / divisors, float(attention)
