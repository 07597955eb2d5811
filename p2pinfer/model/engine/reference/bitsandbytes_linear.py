"""bitsandbytes' INT8 linear over the rows of a layer store, for CUDA devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def bitsandbytes_linear(
    quantized: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None, device: torch.device
) -> torch.nn.Module:
    """A `bitsandbytes.nn.Linear8bitLt` over stored rows, unchanged, on a CUDA device.

    It needs rotated inputs. `quantized` is int8 [out, in], `scales` float32 [out]. The outlier
    threshold is 6, as in the LLM.int8 paper (Dettmers et al. 2022): without it activations with outliers
    lose most accuracy.
    """
    import torch
    from bitsandbytes.nn.modules import Int8Params, Linear8bitLt

    out_features, in_features = quantized.shape
    linear = Linear8bitLt(
        in_features, out_features, bias=bias is not None, has_fp16_weights=False, threshold=6.0, device="meta"
    )
    rows = quantized.to(device).contiguous()
    weight = Int8Params(rows, requires_grad=False, has_fp16_weights=False)
    weight.CB, weight.SCB = rows, (scales * 127.0).to(device)
    linear.weight = weight
    linear.state.CB, linear.state.SCB = weight.CB, weight.SCB
    if bias is not None:
        linear.bias = torch.nn.Parameter(bias.to(device), requires_grad=False)
    return linear.eval()
