"""A GGUF file's rotary positions in `transformers`' words: what llama.cpp computes from the same file. Pure.

llama.cpp turns a pair of columns by position * theta^(-2i/d) / divisor / factor: the divisors come from a
tensor, the factor from the metadata. For some combinations `transformers` has no name: they become
`longrope` with one list of divisors for short and for long texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pinfer.errors import ModelError, UnsupportedModelError

KINDS = ("none", "linear", "yarn", "longrope")
"""Values of `rope.scaling.type`. A file that has none is scaled linearly, by 1 unless it gives a factor."""

FREQUENCIES, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
TENSORS = (FREQUENCIES, LONG, SHORT)
"""Tensors of divisors, which files of the architecture llama may have."""

_LLAMA3_LOW, _LLAMA3_HIGH = 1.0, 4.0
"""Every Llama since 3.1: turns within the first training's context that are slow, and that are fast."""

_TOLERANCE = 1e-4
"""Of a divisor that was computed and stored in float32."""

Divisors = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotaryKeys:
    """What the metadata says about rotary positions."""

    theta: float
    head_dim: int
    positions: int  # the context that the model is for
    first_positions: int  # the context of the first training, before it was stretched
    kind: str
    factor: float
    attention_factor: float  # multiplies cosines and sines


def read_keys(metadata: Mapping[str, Any], architecture: str, head_dim: int, positions: int) -> RotaryKeys:
    """Read the `rope` fields. Raises ModelError or UnsupportedModelError naming the field that is wrong."""

    def number(name: str, default: float, *, zero: bool = False) -> float:
        value = metadata.get(f"{architecture}.{name}", default)
        positive = isinstance(value, int | float) and math.isfinite(value) and value > 0
        if not positive and not (zero and value == 0):
            raise ModelError(f"the file's {architecture}.{name} is {value!r}, not a positive number")
        return float(value)

    kind = str(metadata.get(f"{architecture}.rope.scaling.type", "linear"))
    if kind not in KINDS:
        raise UnsupportedModelError(
            f"the file scales its rotary positions by {kind!r} ({architecture}.rope.scaling.type), and "
            f"p2pinfer knows {', '.join(KINDS)}: convert the Hugging Face model instead"
        )
    turned = number("rope.dimension_count", head_dim)
    if turned != head_dim:
        raise UnsupportedModelError(
            f"the file turns {turned:g} of a head's {head_dim} columns "
            f"({architecture}.rope.dimension_count), and p2pinfer turns all of them"
        )
    first_positions = int(number("rope.scaling.original_context_length", positions, zero=True))
    factor = number("rope.scaling.factor", number("rope.scale_linear", 0.0, zero=True), zero=True)
    return RotaryKeys(
        theta=number("rope.freq_base", 10000.0),
        head_dim=head_dim,
        positions=positions,
        first_positions=first_positions or positions,
        kind=kind,
        factor=1.0 if kind == "none" else factor or 1.0,
        attention_factor=number("rope.scaling.attn_factor", 1.0),
    )


def choose_tensor(keys: RotaryKeys, tensors: Mapping[str, Divisors]) -> Divisors | None:
    """The divisors that every text uses, or None.

    Raises UnsupportedModelError if they depend on the text's length, or belong to another kind of scaling.
    """
    if keys.kind != "longrope":
        return _only(tensors, FREQUENCIES, keys.kind)
    if FREQUENCIES in tensors or (LONG in tensors) != (SHORT in tensors):
        return _only(tensors, "", keys.kind)
    if LONG not in tensors:
        return None
    if list(tensors[LONG]) == list(tensors[SHORT]) or keys.positions <= keys.first_positions:
        return tensors[SHORT]
    raise UnsupportedModelError(
        "the file scales its rotary positions by 'longrope', by other factors beyond "
        f"{keys.first_positions} tokens: a token's numbers depend on what follows. p2pinfer doesn't run such "
        "models"
    )


def _only(tensors: Mapping[str, Divisors], name: str, kind: str) -> Divisors | None:
    for other in tensors:
        if other != name:
            raise UnsupportedModelError(
                f"the file has {other}, which its rope.scaling.type {kind!r} doesn't use: it is damaged, or "
                "newer than this version of p2pinfer"
            )
    return tensors.get(name)


def rope_parameters(keys: RotaryKeys, divisors: Divisors | None) -> dict[str, Any]:
    """The `rope_parameters` of a config. Raises ModelError or UnsupportedModelError."""
    if divisors is not None:
        _check(keys, divisors)
        if keys.kind == "yarn":
            raise UnsupportedModelError(
                f"the file scales its rotary positions by 'yarn' and by {FREQUENCIES}: convert the Hugging "
                "Face model instead"
            )
    plain: dict[str, Any] = {"rope_theta": keys.theta}
    if keys.kind == "yarn" and keys.factor != 1.0:
        return plain | _yarn(keys)
    if divisors is None and keys.attention_factor == 1.0:
        if keys.factor == 1.0:
            return plain | {"rope_type": "default"}
        return plain | {"rope_type": "linear", "factor": keys.factor}
    if divisors is not None and keys.factor == keys.attention_factor == 1.0:
        llama3 = _as_llama3(keys, divisors)
        if llama3 is not None:
            return plain | llama3
    listed = [divisor * keys.factor for divisor in divisors or [1.0] * (keys.head_dim // 2)]
    return plain | {
        "rope_type": "longrope",
        "long_factor": listed,
        "short_factor": listed,
        "factor": keys.factor,
        "attention_factor": keys.attention_factor,
        "original_max_position_embeddings": keys.first_positions,
    }


def _check(keys: RotaryKeys, divisors: Divisors) -> None:
    if len(divisors) != keys.head_dim // 2:
        raise ModelError(
            f"the file has {len(divisors)} rotary divisors, and heads of {keys.head_dim} columns need "
            f"{keys.head_dim // 2}"
        )
    if not all(math.isfinite(divisor) and divisor > 0 for divisor in divisors):
        raise ModelError("the file has a rotary divisor that is not a positive number")


def _yarn(keys: RotaryKeys) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": keys.factor,
        "original_max_position_embeddings": keys.first_positions,
    }
    if keys.attention_factor != 1.0:
        usual = 0.1 * math.log(keys.factor) + 1.0 if keys.factor > 1.0 else 1.0
        fields["attention_factor"] = usual * keys.attention_factor
    return fields


def _as_llama3(keys: RotaryKeys, divisors: Divisors) -> dict[str, Any] | None:
    """The four numbers that a Llama's divisors come from, so that file and checkpoint give the same model.

    Fast pairs have the divisor 1 and slow pairs have `factor`. The pairs between them tell the context of the
    first training.
    """
    found, factor = np.asarray(divisors, np.float64), float(f"{max(divisors):.6g}")
    if factor <= 1.0:
        return None
    frequencies = keys.theta ** (-2 * np.arange(len(divisors)) / keys.head_dim)
    kept = (1 / found - 1 / factor) / (1 - 1 / factor)
    between = (kept > 0.01) & (kept < 0.99)
    if not between.any():
        return None
    turns = _LLAMA3_LOW + kept[between] * (_LLAMA3_HIGH - _LLAMA3_LOW)
    first_positions = round(float(np.median(turns * 2 * math.pi / frequencies[between])))
    turns = first_positions * frequencies / (2 * math.pi)
    expected_kept = np.clip((turns - _LLAMA3_LOW) / (_LLAMA3_HIGH - _LLAMA3_LOW), 0.0, 1.0)
    expected = 1 / (expected_kept + (1 - expected_kept) / factor)
    if not np.allclose(found, expected, rtol=_TOLERANCE, atol=0.0):
        return None
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LLAMA3_LOW,
        "high_freq_factor": _LLAMA3_HIGH,
        "original_max_position_embeddings": first_positions,
    }
