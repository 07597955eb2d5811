"""The interface of engines, which run the layers of one span over chunks of sequences.

Engines take and return numpy float32, the precision of the residual stream. So a server needs no tensor
library besides its engine's, and cutting a model in other places changes no bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from p2pinfer.types import Span

Hidden = NDArray[np.float32]
"""Activations between layers, [tokens, hidden_size]."""


class SequenceCache(Protocol):
    """Keys and values of one sequence in some layers."""

    @property
    def layers(self) -> Span:
        """The layers that this sequence runs through."""

    @property
    def length(self) -> int:
        """Tokens held."""

    def rewind(self, length: int) -> None:
        """Forget the tokens from `length` on. Raises ValueError if it holds fewer."""

    def extend_from(self, source: SequenceCache, length: int) -> None:
        """Append the tokens of `source` from this cache's length on, until this one holds `length` tokens.

        Nothing is computed: behind the same tokens the copy is what computing them would give. Raises
        ValueError if the source holds fewer tokens, has other layers, or is this cache; TypeError for a cache
        of another engine; MemoryError. In all these cases nothing has changed.
        """

    def release(self) -> None:
        """Give the memory back. The cache can't be used afterwards. Releasing twice is harmless."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next tokens of one sequence, at positions cache.length, cache.length + 1, ..."""

    cache: SequenceCache
    hidden: Hidden


class Engine(Protocol):
    """One span of layers, ready to run. Not thread-safe: one thread calls `forward`."""

    @property
    def span(self) -> Span:
        """The layers that it holds."""

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""

    @property
    def numerics(self) -> str:
        """The numerics class: engines of one class give the same bytes."""

    @property
    def weight_bytes(self) -> int:
        """Memory for the weights, scales and norms included."""

    @property
    def cache_bytes_per_token(self) -> int:
        """Memory for one token's keys and values, in all layers of the span together."""

    def new_cache(self, layers: Span | None = None) -> SequenceCache:
        """An empty cache. It takes memory as tokens come.

        `layers` (default: the whole span) lets a route enter or leave a span in the middle.
        """

    def forward(self, chunks: Sequence[Chunk]) -> list[Hidden]:
        """Run every chunk through its cache's layers, append to the cache, and return the outputs.

        A sequence's outputs don't depend on the other chunks, nor on their layers. A cache appears at most
        once in a call. The input isn't modified.
        """
