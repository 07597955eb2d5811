"""Rotated row-wise absmax INT8: how a weight becomes bytes.

The groups of 64 columns of a row are rotated (p2pinfer/hadamard.py); a product rotates its other factor
too. The rotated row is stored in the format of bitsandbytes' `int8_vectorwise_quant`: with absmax the
largest magnitude of an output row, a value is stored as round(value * (127 / absmax)), half to even.
bitsandbytes keeps SCB = absmax; a layer store keeps scale = absmax / 127 instead, so that the rotated
weight is int8 * scale. The rotation cuts the divergence from float32 to a third, measured on SmolLM2-135M;
scripts/bench_accuracy has the numbers.

All arithmetic is float32 in one fixed order, rounded as IEEE 754 says, so every machine writes the same
bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ModelError
from p2pinfer.hadamard import rotate

Int8Rows = NDArray[np.int8]
RowScales = NDArray[np.float32]

_BLOCK_ELEMENTS = 1 << 20
"""Weights in one block of rows: 4 MB of float32, which stay in the processor's cache."""

_SMALLEST_ABSMAX = np.float32(1e-35)
"""Rows with a smaller absmax are stored as zeros: 127 / absmax would overflow."""


def quantize_rows(weight: NDArray[np.float32]) -> tuple[Int8Rows, RowScales]:
    """Rotate [rows, columns] and quantize it to int8 and one float32 scale per row.

    Raises ModelError if a weight is not a finite number.
    """
    rows, columns = weight.shape
    quantized = np.empty((rows, columns), np.int8)
    scales = np.empty(rows, np.float32)
    block_rows = max(1, _BLOCK_ELEMENTS // max(1, columns))
    for start in range(0, rows, block_rows):
        with np.errstate(over="ignore", invalid="ignore"):  # values that aren't finite are refused below
            block = rotate(weight[start : start + block_rows])
        stop = start + len(block)
        absmax = np.maximum(block.max(axis=1), -block.min(axis=1))
        if not np.isfinite(absmax).all():
            raise ModelError("a weight of the model is not a finite number, so it can't be quantized")
        usable = absmax >= _SMALLEST_ABSMAX
        inverse = np.divide(np.float32(127), absmax, out=np.zeros_like(absmax), where=usable)
        quantized[start:stop] = np.rint(block * inverse[:, None])
        scales[start:stop] = np.where(usable, absmax / np.float32(127), np.float32(0))
    return quantized, scales


def dequantize_rows(quantized: Int8Rows, scales: RowScales) -> NDArray[np.float32]:
    """The float32 weights of a quantized matrix, rotated back."""
    return rotate(quantized.astype(np.float32) * scales[:, None])
