"""llama.cpp with streams that begin together, and prompts of one length."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from scripts.benchmarks.contenders.clock import Clock
from scripts.benchmarks.contenders.llama.model import BATCH_TOKENS, LlamaModel


def load(q8_file: str) -> dict[str, Callable[..., dict[str, Any]]]:
    """Load the model into memory, as the engine's weights are, rather than map the file."""
    streams = _Streams(LlamaModel(q8_file))
    return {"decode": streams.decode, "prefill": streams.prefill}


class _Streams:
    """Streams of equal length, and one context for each number of sequences that was asked for."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._contexts: dict[tuple[int, int], Any] = {}

    def decode(self, prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        """Greedy tokens for every prompt; a batch has one token of each prompt."""
        length = len(prompts[0])
        context = self._emptied_context(len(prompts), length + tokens)
        rows: list[list[int]] = [[] for _ in prompts]
        clock = Clock()
        given = [
            (token, position, sequence, position == length - 1)
            for sequence, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
        ]
        for start in range(0, len(given), BATCH_TOKENS):
            batch = given[start : start + BATCH_TOKENS]
            self._model.run(context, batch)
            for index, (_, _, sequence, wanted) in enumerate(batch):
                if wanted:
                    rows[sequence].append(self._model.best(context, index))
        clock.tick()
        for position in range(length, length + tokens - 1):
            self._model.run(
                context, [(row[-1], position, sequence, True) for sequence, row in enumerate(rows)]
            )
            for index, row in enumerate(rows):
                row.append(self._model.best(context, index))
            clock.tick()
        return clock.answer(rows)

    def prefill(self, prompt: list[int]) -> dict[str, Any]:
        """The token after one prompt, which runs as one batch."""
        context = self._emptied_context(1, len(prompt))
        started = time.perf_counter()
        last = len(prompt) - 1
        self._model.run(
            context, [(token, position, 0, position == last) for position, token in enumerate(prompt)]
        )
        token = self._model.best(context, last)
        return {"tokens": [[token]], "seconds": time.perf_counter() - started}

    def _emptied_context(self, sequences: int, tokens: int) -> Any:
        """An empty context for this number of sequences, with this number of tokens each; made once."""
        key = (sequences, tokens)
        if key not in self._contexts:
            # With llama.cpp's fastest settings on this kind of machine: flash attention is faster by half at
            # 32 streams, else by little.
            self._contexts[key] = self._model.new_context(sequences=sequences, tokens=tokens)
        llama = self._model.llama
        llama.llama_memory_clear(llama.llama_get_memory(self._contexts[key]), True)
        return self._contexts[key]
