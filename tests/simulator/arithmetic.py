"""A model of whole numbers: exact wherever it is cut, and different for every text, position and layer.

Numbers stay below 2**20, which float32 carries exactly; a token costs a microsecond per layer, so that
thousands of schedules can compute. A doubled, lost or misplaced token changes everything after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from p2pinfer.model.engine.base import Chunk, Hidden, SequenceCache
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.types import Span

MODEL = "cd" * 32
NUMERICS = "numbers-1"
HIDDEN_SIZE = 1
VOCABULARY = 251
MAX_POSITIONS = 4096
_MODULUS = (1 << 20) - 3


@dataclass(slots=True)
class NumberCache:
    """Per token and layer, the running sum that the arithmetic needs."""

    layers: Span
    sums: list[list[int]] = field(default_factory=list)
    released: bool = False

    @property
    def length(self) -> int:
        return len(self.sums)

    def rewind(self, length: int) -> None:
        if length > len(self.sums):
            raise ValueError(f"rewound to {length} of {len(self.sums)} tokens")
        del self.sums[length:]

    def extend_from(self, source: SequenceCache, length: int) -> None:
        assert isinstance(source, NumberCache) and not source.released
        if not self.length <= length <= source.length:
            raise ValueError(f"copied to {length} of {source.length} tokens")
        self.sums.extend(source.sums[self.length : length])

    def release(self) -> None:
        self.released = True


@dataclass(slots=True)
class NumberEngine:
    """Layer i maps x to 5 x + 7 (i + 1) (position + 1) + the sum of all its inputs so far."""

    span: Span
    hidden_size: int = HIDDEN_SIZE
    numerics: str = NUMERICS
    weight_bytes: int = 1
    cache_bytes_per_token: int = 1
    on_forward: Callable[[int], None] = lambda tokens: None

    def new_cache(self, layers: Span | None = None) -> NumberCache:
        return NumberCache(layers or self.span)

    def forward(self, chunks: Sequence[Chunk]) -> list[Hidden]:
        self.on_forward(sum(len(chunk.hidden) for chunk in chunks))
        return [self._run(chunk) for chunk in chunks]

    def _run(self, chunk: Chunk) -> Hidden:
        cache = chunk.cache
        assert isinstance(cache, NumberCache) and not cache.released, "a freed cache is used"
        outputs = []
        for (number,) in chunk.hidden.tolist():
            value, position = int(number), len(cache.sums) + 1
            before = cache.sums[-1] if cache.sums else [0] * len(cache.layers)
            sums = []
            for seen, layer in zip(before, range(cache.layers.start, cache.layers.end), strict=True):
                seen = (3 * seen + value) % _MODULUS
                sums.append(seen)
                value = (5 * value + 7 * (layer + 1) * position + seen) % _MODULUS
            cache.sums.append(sums)
            outputs.append([value])
        return np.array(outputs, dtype=np.float32)


class NumberEnds:
    """Maps tokens to numbers and back."""

    def embed(self, tokens: np.ndarray) -> Hidden:
        return ((np.asarray(tokens, dtype=np.int64) * 7919 + 13) % _MODULUS).astype(np.float32)[:, None]

    def next_token(self, hidden: Hidden) -> int:
        return int(hidden[-1, 0]) % VOCABULARY


class Oracle:
    """The whole model in one place: the expected result of one row."""

    def __init__(self, num_layers: int) -> None:
        self._engine = NumberEngine(Span(0, num_layers))
        self._cache = self._engine.new_cache()
        self._row: list[int] = []
        self._outputs: list[Hidden] = []

    def hidden(self, row: list[int], wanted: int) -> Hidden:
        """The states [wanted, hidden] of the row's last tokens."""
        same = 0
        while same < min(len(row), len(self._row)) and row[same] == self._row[same]:
            same += 1
        self._cache.rewind(same)
        del self._outputs[same:]
        if same < len(row):
            outputs = self._engine.forward([Chunk(self._cache, NumberEnds().embed(np.array(row[same:])))])[0]
            self._outputs.extend(outputs[index : index + 1] for index in range(len(outputs)))
        self._row = list(row)
        return np.concatenate(self._outputs[len(row) - wanted : len(row)])


def number_manifest(num_layers: int) -> Manifest:
    return Manifest(
        hash=MODEL,
        name="numbers",
        model_type="llama",
        num_layers=num_layers,
        hidden_size=HIDDEN_SIZE,
        vocab_size=VOCABULARY,
        max_positions=MAX_POSITIONS,
        files={},
    )
