"""What a session is promised when it is opened: cache tokens, in whole pages."""

from __future__ import annotations

from p2pinfer.wire.inference_pb2 import Terms

PAGE_TOKENS = 16
"""Caches take memory in pages of so many tokens, and leases are counted as memory is taken."""


def leased_tokens(terms: Terms) -> int:
    """Cache tokens that a session's rows take at most, in whole pages."""
    return terms.rows * (-(-terms.max_tokens // PAGE_TOKENS) * PAGE_TOKENS)
