"""The outputs that a hop has sent in one session, kept so that a hop that comes later can be told them all.

They are kept in float32 as the engine made them, whatever dtype the wire has: packed once more they give the
same bytes. Buffers grow as tokens come. A row takes no more than the tokens that the session has leased.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2pinfer.wire.steps import Fork, RowChunk

_FIRST_TOKENS = 64


class SentOutputs:
    """The outputs of every row, and how far a replay of them has come."""

    def __init__(self, *, rows: int, max_tokens: int, hidden_size: int) -> None:
        self._max_tokens = max_tokens
        self._buffers = [np.empty((0, hidden_size), np.float32) for _ in range(rows)]
        self._cursors: list[int] | None = None
        self.lengths = [0] * rows

    @property
    def bytes_held(self) -> int:
        """The memory of the buffers."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def record(self, chunks: Sequence[RowChunk]) -> None:
        """Copy outputs. What a row had from a chunk's position on is forgotten, and replayed anew."""
        for chunk in chunks:
            row, start, end = chunk.row, chunk.position, chunk.position + len(chunk.hidden)
            buffer = self._buffers[row]
            if end > len(buffer):
                buffer = self._grow(row, end)
            buffer[start:end] = chunk.hidden
            self.lengths[row] = end
            if self._cursors is not None and self._cursors[row] > start:
                self._cursors[row] = start

    def fork(self, forks: Sequence[Fork]) -> None:
        """Copy the first outputs of rows into other rows, which are replayed anew."""
        for fork in forks:
            self.replace(fork.row, self._buffers[fork.source][: fork.tokens])

    def replace(self, row: int, outputs: NDArray[np.float32]) -> None:
        """Copy outputs [tokens, hidden_size] into a row, which is replayed anew."""
        self.lengths[row] = 0  # nothing of it has to be kept when the buffer grows
        self.record([RowChunk(row, 0, outputs)])

    def rows(self) -> list[NDArray[np.float32]]:
        """The outputs of each row, [tokens, hidden_size]: views, good until the next `record`."""
        return [buffer[:length] for buffer, length in zip(self._buffers, self.lengths, strict=True)]

    def begin_replay(self, held: Sequence[int] = ()) -> None:
        """Let `take` begin behind the `held` tokens of each row (none given: at the first of every row).

        There is one replay at a time: this ends a former one.
        """
        first = held or [0] * len(self.lengths)
        self._cursors = [min(cursor, length) for cursor, length in zip(first, self.lengths, strict=True)]

    def take(self, max_tokens: int) -> list[RowChunk]:
        """Return the next tokens of the replay, at most `max_tokens`, row by row; nothing if all were taken.

        The hidden states are views, good until the next `record`.
        """
        assert self._cursors is not None, "no replay has begun"
        chunks = []
        for row, (start, length) in enumerate(zip(self._cursors, self.lengths, strict=True)):
            if start < length and max_tokens > 0:
                end = min(length, start + max_tokens)
                chunks.append(RowChunk(row, start, self._buffers[row][start:end]))
                self._cursors[row] = end
                max_tokens -= end - start
        return chunks

    def end_replay(self) -> None:
        """Stop following what is recorded."""
        self._cursors = None

    def forget(self) -> None:
        """Free the memory. Nothing is recorded or taken afterwards."""
        self._buffers, self.lengths, self._cursors = [], [], None

    def _grow(self, row: int, tokens: int) -> NDArray[np.float32]:
        """Return a buffer for at least `tokens` tokens, twice as long as before: copying stays rare."""
        old = self._buffers[row]
        tokens = min(self._max_tokens, max(tokens, 2 * len(old), _FIRST_TOKENS))
        grown = np.empty((tokens, old.shape[1]), np.float32)
        grown[: self.lengths[row]] = old[: self.lengths[row]]
        self._buffers[row] = grown
        return grown
