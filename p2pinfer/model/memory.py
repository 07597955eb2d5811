"""How much memory a sequence takes in an engine. Pure."""

from __future__ import annotations

from p2pinfer.types import Span

_FLOAT32_BYTES = 4


def cache_bytes_per_token(layers: Span, *, kv_heads: int, head_dim: int) -> int:
    """Bytes of one token's keys and values in all layers of a span, as float32."""
    return len(layers) * 2 * kv_heads * head_dim * _FLOAT32_BYTES
