"""INT8 linear layers for torch: on a CPU by `_weight_int8pack_mm`, on CUDA by bitsandbytes."""

from __future__ import annotations

import torch

from p2pinfer.model.quantization import bitsandbytes_linear

_BLOCK_COLUMNS = 16


class Int8Linear(torch.nn.Module):
    """y = x W^T + b with W as INT8 rows; x is cast to bfloat16, sums and scales are float32.

    The kernel was chosen by measurement (`scripts/bench_kernels`): it reads the stored rows as they
    are, is the fastest for one token, and gives a row of x the same bits whatever other rows are
    there. Its own scales are bfloat16, which would be wrong by up to 0.4 % for a whole row, so it is
    given ones, and the float32 scales are applied to its result. It reads columns in blocks of 16 and
    past the end of rows that are no multiple of that (torch 2.13: it may crash), so such rows are
    padded with zeros; no published model has any.
    """

    def __init__(self, quantized: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.padding = -quantized.shape[1] % _BLOCK_COLUMNS
        if self.padding:
            quantized = torch.nn.functional.pad(quantized, (0, self.padding))
        self.quantized = quantized
        self.scales = scales
        self.bias = bias
        self.ones = torch.ones(len(scales), dtype=torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., in] to [..., out], both float32."""
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        if self.padding:
            rows = torch.nn.functional.pad(rows, (0, self.padding))
        product: torch.Tensor = torch.ops.aten._weight_int8pack_mm(rows, self.quantized, self.ones)
        out = product * self.scales  # bfloat16 * float32 is float32
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], -1)


class Float16Linear(torch.nn.Module):
    """A layer that works in float16, between float32 ones: bitsandbytes logs each cast that it has to do."""

    def __init__(self, linear: torch.nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., in] to [..., out], both float32."""
        out: torch.Tensor = self.linear(x.half())
        return out.float()


def int8_linear(
    quantized: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None, device: torch.device
) -> torch.nn.Module:
    """The INT8 linear layer for a device."""
    if device.type == "cuda":
        return Float16Linear(bitsandbytes_linear(quantized, scales, bias, device))
    return Int8Linear(quantized, scales, bias)
