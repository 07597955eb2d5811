"""Which layers each server of a local swarm takes. Pure."""

from __future__ import annotations

from p2pinfer.errors import UsageError
from p2pinfer.types import Span


def split_layers(num_layers: int, num_peers: int) -> list[Span]:
    """Cut [0, num_layers) into `num_peers` spans whose lengths differ by at most one, longer ones first.

    Raises UsageError if there are more peers than layers.
    """
    if not 1 <= num_peers <= num_layers:
        raise UsageError(
            f"{num_layers} layers can't be shared among {num_peers} peers: choose 1 to {num_layers}"
        )
    length, longer = divmod(num_layers, num_peers)
    ends = [length * (peer + 1) + min(peer + 1, longer) for peer in range(num_peers)]
    return [Span(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
