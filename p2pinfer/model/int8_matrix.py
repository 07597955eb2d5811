"""One INT8 matrix product by itself, for the client's head: native where it is built, else torch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.engine.native import library
from p2pinfer.model.engine.native.matrix import NativeInt8Matrix
from p2pinfer.model.quantization import Int8Rows, RowScales


class Int8Matrix(Protocol):
    """A quantized matrix that is ready to multiply. Threads may share it."""

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map [tokens, columns] to [tokens, rows]."""


class TorchInt8Matrix:
    """The reference engine's kernel. It keeps the rows as they are, without a copy."""

    def __init__(self, quantized: Int8Rows, scales: RowScales) -> None:
        import torch

        from p2pinfer.model.engine.reference.int8_linear import Int8Linear

        self._linear = Int8Linear(torch.from_numpy(quantized), torch.from_numpy(scales), None)

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map [tokens, columns] to [tokens, rows]."""
        import torch

        with torch.inference_mode():
            product: NDArray[np.float32] = self._linear(torch.from_numpy(np.ascontiguousarray(x))).numpy()
        return product


def int8_matrix(quantized: Int8Rows, scales: RowScales) -> Int8Matrix:
    """The fastest implementation that this machine has."""
    if library.unavailable_reason() is None:
        return NativeInt8Matrix(quantized, scales)
    return TorchInt8Matrix(quantized, scales)
