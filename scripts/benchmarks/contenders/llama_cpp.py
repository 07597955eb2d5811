"""llama.cpp in one process, through llama-cpp-python's binding of its C interface.

That package's `Llama` class is not used: its Python code around every token would count as llama.cpp's time.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.engine.native.library import default_threads
from scripts.benchmarks.contenders.clock import Clock

BATCH_TOKENS = 512
CONTEXT_STEP_TOKENS = 256  # llama.cpp pads a sequence's share of the context to a multiple of this

Token = tuple[int, int, int, bool]
"""Add one token: id, position, sequence, and whether its scores are wanted."""


def load(q8_file: str) -> dict[str, Callable[..., dict[str, Any]]]:
    """Load the model into memory, as the engine's weights are, rather than map the file."""
    model = _Model(q8_file)
    return {"decode": model.decode, "prefill": model.prefill}


class _Model:
    """The weights, and one context for each number of sequences that was asked for."""

    def __init__(self, q8_file: str) -> None:
        self._llama = importlib.import_module("llama_cpp")
        self._silence = self._llama.llama_log_callback(lambda level, text, data: None)
        self._llama.llama_log_set(self._silence, None)
        self._llama.llama_backend_init()
        parameters = self._llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        parameters.load_mode = self._llama.LLAMA_LOAD_MODE_NONE
        self._model = self._llama.llama_model_load_from_file(q8_file.encode(), parameters)
        if not self._model:
            raise ValueError(f"llama.cpp can't load {q8_file}")
        self._vocab_size = self._llama.llama_vocab_n_tokens(self._llama.llama_model_get_vocab(self._model))
        self._contexts: dict[tuple[int, int], Any] = {}
        self._batch = self._llama.llama_batch_init(BATCH_TOKENS, 0, 1)

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
            self._run(context, batch)
            for index, (_, _, sequence, wanted) in enumerate(batch):
                if wanted:
                    rows[sequence].append(self._best(context, index))
        clock.tick()
        for position in range(length, length + tokens - 1):
            self._run(context, [(row[-1], position, sequence, True) for sequence, row in enumerate(rows)])
            for index, row in enumerate(rows):
                row.append(self._best(context, index))
            clock.tick()
        return clock.answer(rows)

    def prefill(self, prompt: list[int]) -> dict[str, Any]:
        """The token after one prompt, which runs as one batch."""
        context = self._emptied_context(1, len(prompt))
        started = time.perf_counter()
        last = len(prompt) - 1
        self._run(context, [(token, position, 0, position == last) for position, token in enumerate(prompt)])
        token = self._best(context, last)
        return {"tokens": [[token]], "seconds": time.perf_counter() - started}

    def _emptied_context(self, sequences: int, tokens: int) -> Any:
        """An empty context for this number of sequences, with this number of tokens each; made once."""
        key = (sequences, tokens)
        if key not in self._contexts:
            parameters = self._llama.llama_context_default_params()
            parameters.n_seq_max = sequences
            parameters.n_ctx = sequences * -(-tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
            parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
            # llama.cpp's fastest setting on this kind of machine: by half at 32 streams, else by little.
            parameters.flash_attn_type = self._llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
            parameters.kv_unified = False
            parameters.n_threads = parameters.n_threads_batch = default_threads()
            context = self._llama.llama_init_from_model(self._model, parameters)
            if not context:
                raise ValueError(f"llama.cpp makes no context for {sequences} sequences of {tokens} tokens")
            self._contexts[key] = context
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._contexts[key]), True)
        return self._contexts[key]

    def _run(self, context: Any, tokens: Sequence[Token]) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = wanted
        status = self._llama.llama_decode(context, batch)
        if status != 0:
            raise ValueError(f"llama_decode ended with status {status}")

    def _best(self, context: Any, index: int) -> int:
        scores: NDArray[np.float32] = np.ctypeslib.as_array(
            self._llama.llama_get_logits_ith(context, index), (self._vocab_size,)
        )
        return int(scores.argmax())
