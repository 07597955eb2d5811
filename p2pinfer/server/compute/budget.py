"""How much memory a server takes when its owner doesn't say."""

from __future__ import annotations

PAGE_TOKENS = 16
"""Caches take memory in pages of this many tokens, and what is leased or kept is counted in them."""

MAX_CACHE_TOKENS = 65_536
MIN_CACHE_TOKENS = 256
_WEIGHTS_SHARE = 0.5
_MOST_WEIGHTS_SHARE = 0.7
_CACHE_SHARE = 0.25


def default_num_layers(*, largest_layer_bytes: int, free_bytes: int, num_layers: int) -> int:
    """Return how many layers fit into half of the free memory with their weights; at least one."""
    return max(1, min(num_layers, int(free_bytes * _WEIGHTS_SHARE) // largest_layer_bytes))


def most_num_layers(*, largest_layer_bytes: int, free_bytes: int, num_layers: int) -> int:
    """Return how many layers a server takes at most if they close a model's last gap; at least one.

    A quarter of the memory that is free then still goes to the caches.
    """
    return max(1, min(num_layers, int(free_bytes * _MOST_WEIGHTS_SHARE) // largest_layer_bytes))


def history_bytes_per_token(hidden_size: int) -> int:
    """Return the bytes that a hop keeps of each token that it sent on: a hidden state in float32."""
    return 4 * hidden_size


def default_cache_tokens(*, bytes_per_token: int, free_bytes: int) -> int:
    """Return how many tokens of attention cache and history fit into a quarter of the free memory.

    The result is between MIN_CACHE_TOKENS and MAX_CACHE_TOKENS.
    """
    tokens = int(free_bytes * _CACHE_SHARE) // bytes_per_token
    return max(MIN_CACHE_TOKENS, min(MAX_CACHE_TOKENS, tokens))
