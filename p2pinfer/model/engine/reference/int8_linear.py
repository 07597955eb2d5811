"""INT8 linear layers for torch: on a CPU by `_weight_int8pack_mm`, on CUDA by bitsandbytes.

The stored rows are rotated (model/quantization.py), so the inputs are rotated here.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from p2pinfer.hadamard import GROUP, rotate
from p2pinfer.model.engine.reference.bitsandbytes_linear import bitsandbytes_linear

_BLOCK_COLUMNS = 16
_ALIGNMENT_BYTES = 64
"""The alignment of torch's own tensors. With AVX-512 the kernel needs 16 bytes, or it dies."""


def rotated(x: torch.Tensor) -> torch.Tensor:
    """`hadamard.rotate` of float32 [rows, columns] as a matrix product, whose sums run in another order.

    Each row is a separate product of a batch, so that its bits can't depend on the number of rows. For one
    row this takes a ninth of the butterflies' time.
    """
    rows, columns = x.shape
    groups = columns // GROUP
    if groups == 0:
        return x
    whole = x[:, : groups * GROUP].reshape(rows, groups, GROUP)
    turned = torch.bmm(whole, _hadamard(x.device).expand(rows, GROUP, GROUP)).view(rows, groups * GROUP)
    return turned if columns % GROUP == 0 else torch.cat((turned, x[:, groups * GROUP :]), dim=1)


@functools.cache
def _hadamard(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(rotate(np.eye(GROUP, dtype=np.float32))).to(device)


class Int8Linear(torch.nn.Module):
    """y = x W^T + b with W as INT8 rows; x is rotated and cast to bfloat16, sums and scales are float32.

    The kernel was chosen by measurement (`scripts/bench_kernels`): it reads the stored rows unchanged, is
    the fastest for one token, and the bits of a row of x don't depend on other rows. Its own scales are
    bfloat16, with errors up to 0.4 % for a whole row; so its scales are ones, and the float32 scales multiply
    its result. It reads columns in blocks of 16, and reads past the end of other rows (torch 2.13: it may
    crash); so those rows are padded with zeros. A store's rows are a view of its file. Behind tensors of odd
    sizes they begin at an odd byte; such rows are copied. No published model has such rows or sizes.
    """

    def __init__(self, quantized: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.padding = -quantized.shape[1] % _BLOCK_COLUMNS
        if self.padding:
            quantized = torch.nn.functional.pad(quantized, (0, self.padding))
        elif quantized.data_ptr() % _ALIGNMENT_BYTES:
            quantized = quantized.clone()
        self.quantized = quantized
        self.scales = scales
        self.bias = bias
        self.ones = torch.ones(len(scales), dtype=torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., in] to [..., out], both float32."""
        rows = rotated(x.reshape(-1, x.shape[-1])).to(torch.bfloat16)
        if self.padding:
            rows = torch.nn.functional.pad(rows, (0, self.padding))
        product: torch.Tensor = torch.ops.aten._weight_int8pack_mm(rows, self.quantized, self.ones)
        out = product * self.scales  # bfloat16 * float32 is float32
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], -1)


class Float16Linear(torch.nn.Module):
    """A layer with rotated inputs in float16, between layers of float32.

    It casts here, because bitsandbytes logs every cast of its own.
    """

    def __init__(self, linear: torch.nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., in] to [..., out], both float32."""
        rows = rotated(x.reshape(-1, x.shape[-1])).half()
        out: torch.Tensor = self.linear(rows)
        return out.float().view(*x.shape[:-1], -1)


def int8_linear(
    quantized: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None, device: torch.device
) -> torch.nn.Module:
    """The INT8 linear layer for a device."""
    if device.type == "cuda":
        return Float16Linear(bitsandbytes_linear(quantized, scales, bias, device))
    return Int8Linear(quantized, scales, bias)
