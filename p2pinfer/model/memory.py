"""How much memory a sequence takes in an engine, and how freed memory goes back."""

from __future__ import annotations

import contextlib
import ctypes

from p2pinfer.types import Span

_FLOAT32_BYTES = 4


def cache_bytes_per_token(layers: Span, *, kv_heads: int, head_dim: int) -> int:
    """Bytes of one token's keys and values in all layers of a span, as float32."""
    return len(layers) * 2 * kv_heads * head_dim * _FLOAT32_BYTES


def return_memory() -> None:
    """Give freed memory back to the kernel, where the C library has a call for it (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
