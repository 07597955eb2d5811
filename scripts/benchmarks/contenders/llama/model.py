"""llama.cpp in one process, through llama-cpp-python's binding of its C interface.

That package's `Llama` class is not used: its Python code around every token would count as llama.cpp's time.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.engine.native.library import default_threads

BATCH_TOKENS = 512
CONTEXT_STEP_TOKENS = 256  # llama.cpp pads a sequence's share of the context to a multiple of this

Token = tuple[int, int, int, bool]
"""Add one token: id, position, sequence, and whether its scores are wanted."""


class LlamaModel:
    """The weights, and what every kind of work needs of llama.cpp."""

    def __init__(self, q8_file: str) -> None:
        """Raises ValueError if llama.cpp can't load the file."""
        self.llama = importlib.import_module("llama_cpp")
        self._silence = self.llama.llama_log_callback(lambda level, text, data: None)
        self.llama.llama_log_set(self._silence, None)
        self.llama.llama_backend_init()
        parameters = self.llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        parameters.load_mode = self.llama.LLAMA_LOAD_MODE_NONE
        self._model = self.llama.llama_model_load_from_file(q8_file.encode(), parameters)
        if not self._model:
            raise ValueError(f"llama.cpp can't load {q8_file}")
        self._vocab_size = self.llama.llama_vocab_n_tokens(self.llama.llama_model_get_vocab(self._model))
        self._batch: Any = None
        self._batch_tokens = 0

    def new_context(
        self,
        *,
        sequences: int,
        tokens: int,
        batch_tokens: int = BATCH_TOKENS,
        step_tokens: int = BATCH_TOKENS,
        is_unified: bool = False,
        flash: bool = True,
        threads: int | None = None,
    ) -> Any:
        """An empty context for this number of sequences, with room for so many tokens each.

        `batch_tokens` is the most that one `run` takes, `step_tokens` what llama.cpp computes at once;
        `is_unified`: all sequences share one cache, and each attends to its own part of it. `threads`:
        None is the number that p2pinfer's engine takes on this machine.
        Raises ValueError if llama.cpp can't make it.
        """
        parameters = self.llama.llama_context_default_params()
        parameters.n_seq_max = sequences
        parameters.n_ctx = sequences * -(-tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
        parameters.n_batch = batch_tokens
        parameters.n_ubatch = step_tokens
        parameters.flash_attn_type = (
            self.llama.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else self.llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        parameters.kv_unified = is_unified
        parameters.n_threads = parameters.n_threads_batch = threads or default_threads()
        context = self.llama.llama_init_from_model(self._model, parameters)
        if not context:
            raise ValueError(f"llama.cpp makes no context for {sequences} sequences of {tokens} tokens")
        return context

    def run(self, context: Any, tokens: Sequence[Token]) -> None:
        """Compute some tokens, at most the context's `batch_tokens`. Raises ValueError if llama.cpp can't."""
        if len(tokens) > self._batch_tokens:
            if self._batch is not None:
                self.llama.llama_batch_free(self._batch)
            self._batch, self._batch_tokens = self.llama.llama_batch_init(len(tokens), 0, 1), len(tokens)
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = wanted
        status = self.llama.llama_decode(context, batch)
        if status != 0:
            raise ValueError(f"llama_decode ended with status {status}")

    def best(self, context: Any, index: int) -> int:
        """The likeliest token after the one at this place of the last batch."""
        scores: NDArray[np.float32] = np.ctypeslib.as_array(
            self.llama.llama_get_logits_ith(context, index), (self._vocab_size,)
        )
        return int(scores.argmax())
