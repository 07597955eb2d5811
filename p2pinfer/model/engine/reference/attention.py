"""Attention of a packed batch: every sequence against its own cache, without padding.

The chunks of a step form one row of tokens, one chunk after the other. Norms, rotary and linear layers
treat each token separately; only attention must know where a sequence begins. This attention is registered
with `transformers`, so that the layers call it in place of their own.

On a CPU it computes in float64. A float32 sum over the cache rounds differently for one query than for
many. One of about a thousand such differences flips a bit of the next layer's bfloat16 input, and then a
prefill in other pieces gives other bytes. In float64 one flip occurs in about 10^9 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from p2pinfer.model.engine.reference.torch_cache import TorchCache

NAME = "p2pinfer_packed"

_QUERY_BLOCK_TOKENS = 128
"""A long prefill reads the cache in pieces, so that the scores stay small."""


class PackedBatch:
    """Which tokens of the packed row belong to which cache. The layers take it as `past_key_values`."""

    def __init__(self, caches: Sequence[TorchCache], lengths: list[int]) -> None:
        self._caches = caches
        self._lengths = lengths

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write [1, heads, tokens, head_dim] into the caches. A layer calls this."""
        pieces = zip(keys[0].split(self._lengths, 1), values[0].split(self._lengths, 1), strict=True)
        for cache, (key, value) in zip(self._caches, pieces, strict=True):
            cache.write(layer_idx, key, value)
        return keys, values

    def attend(
        self, queries: torch.Tensor, layer_idx: int, scaling: float, window: int | None, softcap: float | None
    ) -> torch.Tensor:
        """Map queries [heads, tokens, head_dim] to [tokens, heads, head_dim]."""
        parts = []
        for cache, mine in zip(self._caches, queries.split(self._lengths, 1), strict=True):
            first = cache.length
            for block in mine.split(_QUERY_BLOCK_TOKENS, 1):
                parts.append(_attend_block(block, cache, layer_idx, first, scaling, window, softcap))
                first += block.shape[1]
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def _attend_block(
    queries: torch.Tensor,
    cache: TorchCache,
    layer: int,
    first: int,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Causal grouped-query attention of tokens at positions first, first + 1, ... of one sequence.

    Token i sees the tokens (i - window, i].
    """
    num_heads, tokens, head_dim = queries.shape
    stop = first + tokens
    start = 0 if window is None else max(0, first + 1 - window)
    keys, values = cache.read(layer, start, stop)
    if queries.device.type == "cpu":
        queries, keys, values = queries.double(), keys.double(), values.double()
    groups = num_heads // keys.shape[0]
    grouped = (queries * scaling).reshape(keys.shape[0], groups * tokens, head_dim)
    scores = torch.bmm(grouped, keys.transpose(1, 2))
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if tokens > 1:
        query_at = torch.arange(first, stop, device=queries.device)[:, None]
        key_at = torch.arange(start, stop, device=queries.device)[None, :]
        hidden = key_at > query_at
        if window is not None:
            hidden |= key_at <= query_at - window
        scores = scores.view(-1, groups, tokens, stop - start).masked_fill(hidden, float("-inf"))
        scores = scores.view(-1, groups * tokens, stop - start)
    mixed = torch.bmm(torch.softmax(scores, dim=-1), values)
    return mixed.float().view(num_heads, tokens, head_dim).transpose(0, 1)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    packed: PackedBatch,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The function that `transformers`' layers call. Keys and values are in the caches already."""
    if scaling is None:
        scaling = float(query.shape[-1]) ** -0.5
    layer_idx: int = module.layer_idx  # type: ignore[assignment]
    mixed = packed.attend(query[0], layer_idx, scaling, sliding_window, softcap)
    return mixed[None], None


def register() -> str:
    """Register the implementation with `transformers`, and return its name for a config."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    return NAME
