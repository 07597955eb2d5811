"""The rotation before rounding to INT8: a Walsh-Hadamard transform of every group of 64 columns.

The largest value of a group sets its scale. An orthonormal H turns a few large values into many middling
ones, so that the scale shrinks, and the rounding error with it. A product stays the same, because
x W^T = (x H)(W H)^T. H is symmetric: rotating twice gives the original values, up to rounding.

QuaRot (Ashkboos et al. 2024, https://arxiv.org/abs/2404.00456) rotates activations at run time; QuIP# (Tseng
et al. 2024, https://arxiv.org/abs/2402.04396) introduced Hadamard matrices for weights.

The order of the float32 additions is part of the format. Weights on disk, activations in the engines and
hidden states on the wire are rotated in this order, so every machine gets the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUP = 64
"""Neighbouring columns that are rotated together. A shorter group at the end of a row stays as it is."""

_SHRINK = np.float32(0.125)
"""1 / sqrt(GROUP), a power of two: multiplying by it rounds nothing."""


def rotate(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The transform of every whole group of `x` [..., columns] along its last axis, as a new array.

    Butterflies with strides 32, 16, 8, 4, 2, 1: out[i] = a[i] + a[i + stride] and
    out[i + stride] = a[i] - a[i + stride], for i without that bit; then times 1/8.
    """
    rotated = np.array(x, np.float32)
    whole = rotated.shape[-1] // GROUP * GROUP
    # Values at the same place of their groups lie side by side, so that a butterfly is one long addition.
    places = np.ascontiguousarray(rotated[..., :whole].reshape(-1, GROUP).T)
    stride = GROUP // 2
    while stride:
        pairs = places.reshape(GROUP // (2 * stride), 2, stride, -1)
        first, second = pairs[:, 0], pairs[:, 1]
        pairs[:, 0], pairs[:, 1] = first + second, first - second
        stride //= 2
    places *= _SHRINK
    rotated[..., :whole] = places.T.reshape(rotated[..., :whole].shape)
    return rotated
