"""Embeddings of texts: the activations behind the last layer, pooled as the model's own files say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from p2pinfer.client.arguments.lengths import too_long
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.errors import UsageError
from p2pinfer.model.pooling import Pooling, pool, pooling_of
from p2pinfer.threads import in_thread

_AT_ONCE = 2
"""Sessions that compute embeddings at the same time."""

_ROWS = 16
"""Texts in one session."""

_SESSION_TOKENS = 16384
"""Tokens of all texts of a session together, each counted as the longest."""


class Embedder:
    """Computes embeddings of one model. For one event loop."""

    def __init__(self, remote: RemoteModel) -> None:
        """Raises StoreError if the file that says how to pool was altered."""
        self._remote = remote
        self._pooling = pooling_of(remote.store)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def is_possible(self) -> bool:
        """True for an embedding model."""
        return self._pooling is not None

    async def embed(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return one vector for each prompt, [prompts, hidden_size].

        Raises UsageError if the model is none for embeddings, or a prompt has no tokens; PromptTooLongError;
        NoRouteError, HopFailedError and RefusedError.
        """
        name, longest = self._remote.manifest.name, self._remote.manifest.max_positions
        if self._pooling is None:
            raise UsageError(
                f"{name} is no embedding model: its files don't say how to pool; ask for one that is made "
                "for embeddings"
            )
        for prompt in prompts:
            if not prompt:
                raise UsageError("a text to embed has no tokens: leave it out")
            if len(prompt) > longest:
                raise too_long(len(prompt), limit=longest, model=name)
        # Alike lengths together: the servers lease memory for the longest. The order says nothing else.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        batches = _batches(order, prompts)
        vectors = await asyncio.gather(
            *(self._batch([prompts[index] for index in batch], self._pooling) for batch in batches)
        )
        result = np.empty((len(prompts), self._remote.manifest.hidden_size), np.float32)
        for batch, found in zip(batches, vectors, strict=True):
            result[batch] = found
        return result

    async def _batch(self, prompts: Sequence[Sequence[int]], pooling: Pooling) -> NDArray[np.float32]:
        async with self._turns:
            return await in_thread(partial(self._computed, prompts, pooling), name="p2pinfer-embeddings")

    def _computed(self, prompts: Sequence[Sequence[int]], pooling: Pooling) -> NDArray[np.float32]:
        rows = [list(prompt) for prompt in prompts]
        wanted = [1 if pooling.mode == "last" else len(row) for row in rows]
        with self._remote.session(max(map(len, rows))) as session:
            hidden = session.compute(rows, wanted)
        return np.stack([pool(self._remote.ends.normed(states), pooling) for states in hidden])


def _batches(order: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Cut prompts, the shortest first, into batches for one session each."""
    batches: list[list[int]] = []
    for index in order:
        longest = len(prompts[index])
        if not batches or len(batches[-1]) >= _ROWS or (len(batches[-1]) + 1) * longest > _SESSION_TOKENS:
            batches.append([])
        batches[-1].append(index)
    return batches
