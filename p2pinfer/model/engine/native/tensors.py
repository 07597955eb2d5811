"""One layer's tensors from a store, checked and in the order that the library takes them. Pure.

The compiled code trusts what it gets, so every name, dtype and shape is checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import StoreError
from p2pinfer.model.engine.native.config import NativeShape
from p2pinfer.model.engine.native.library import LINEARS, NORMS

_LINEAR_NAMES = dict(
    zip(
        LINEARS,
        (*(f"self_attn.{x}_proj" for x in "qkvo"), *(f"mlp.{x}_proj" for x in ("gate", "up", "down"))),
        strict=True,
    )
)


class LinearTensors(NamedTuple):
    """One linear weight: P2P_LINEAR_*, int8 [outputs, inputs], float32 [outputs] twice."""

    which: int
    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32] | None


class NormTensor(NamedTuple):
    """One norm: P2P_NORM_*, float32 [width]."""

    which: int
    weight: NDArray[np.float32]


class LayerTensors:
    """The tensors of one layer. Read linears, then norms; `check_all_used` ends the reading."""

    def __init__(self, shape: NativeShape, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._shape = shape
        self._left = dict(tensors)

    def linears(self) -> Iterator[LinearTensors]:
        """All linear weights. Raises StoreError if one is missing or doesn't fit the config."""
        shape = self._shape
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        sizes = {"q": (queries, shape.hidden), "k": (keys, shape.hidden), "v": (keys, shape.hidden)}
        sizes |= {"o": (shape.hidden, queries), "down": (shape.hidden, shape.intermediate)}
        sizes |= dict.fromkeys(("gate", "up"), (shape.intermediate, shape.hidden))
        for which, linear in enumerate(LINEARS):
            name, size = _LINEAR_NAMES[linear], sizes[linear]
            weight = self._take(f"{name}.weight", np.int8, size)
            scale = self._take(f"{name}.weight_scale", np.float32, size[:1])
            has_bias = f"{name}.bias" in self._left
            bias = self._take(f"{name}.bias", np.float32, size[:1]) if has_bias else None
            if linear in ("o", "down") and shape.residual_scale != 1.0:
                scale = scale * np.float32(shape.residual_scale)
                bias = None if bias is None else bias * np.float32(shape.residual_scale)
            yield LinearTensors(which, weight, scale, bias)

    def norms(self) -> Iterator[NormTensor]:
        """The norms that the family has. Raises StoreError if one is missing or doesn't fit the config."""
        shape = self._shape
        for which, place in enumerate(NORMS):
            if place not in shape.norms:
                continue
            width = shape.head_dim if place in ("query", "key") else shape.hidden
            stored = self._take(shape.norms[place], np.float32, (width,))
            yield NormTensor(which, stored + np.float32(shape.norm_offset))

    def check_all_used(self, layer: int) -> None:
        """Raise StoreError if the file holds tensors that nothing has asked for."""
        if self._left:
            names = ", ".join(sorted(self._left))
            raise StoreError(f"layer {layer} has tensors that its family doesn't: {names}")

    def _take(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
        """Remove a tensor, checked and contiguous."""
        tensor = self._left.pop(name, None)
        if tensor is None:
            raise StoreError(f"a layer's file lacks {name}: convert again")
        if tensor.dtype != dtype or tensor.shape != shape:
            found = f"{tensor.dtype} {tensor.shape}"
            raise StoreError(f"{name} should be {np.dtype(dtype)} {shape}, not {found}: convert again")
        return np.ascontiguousarray(tensor)
