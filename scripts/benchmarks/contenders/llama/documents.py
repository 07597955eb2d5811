"""llama.cpp on many documents: parallel sequences whose prompts are filled between decodes.

It batches as llama.cpp's own server does: a batch has the next token of every sequence that decodes, then
tokens of prompts, in the order of the sequences, until it is full. A sequence whose answer has ended takes
the next document at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.benchmarks.contenders.llama.model import LlamaModel, Token


def load(q8_file: str) -> dict[str, Callable[..., dict[str, Any]]]:
    """Load the model into memory."""
    documents = _Documents(LlamaModel(q8_file))
    return {"answer": documents.answer}


@dataclass(slots=True)
class Slot:
    """One sequence of the context, and the document that it has."""

    sequence: int
    number: int = -1
    """The document's place; -1: none."""
    prompt: Sequence[int] = ()
    given: int = 0
    """Tokens of the prompt that are in the cache, or in the batch under way."""
    row: list[int] = field(default_factory=list)
    """The answer so far."""

    @property
    def is_decoding(self) -> bool:
        """True when the whole prompt has been given, and the document waits for its next token."""
        return self.number >= 0 and self.given == len(self.prompt)


def next_batch(slots: Sequence[Slot], most: int) -> tuple[list[Token], list[tuple[int, Slot]]]:
    """The tokens of the next batch, at most `most`, and the places in it whose scores give next tokens."""
    tokens: list[Token] = []
    wanted: list[tuple[int, Slot]] = []
    for slot in slots:
        if slot.is_decoding:
            wanted.append((len(tokens), slot))
            tokens.append((slot.row[-1], len(slot.prompt) + len(slot.row) - 1, slot.sequence, True))
    for slot in slots:
        if slot.number < 0 or slot.is_decoding:
            continue
        end = min(len(slot.prompt), slot.given + most - len(tokens))
        for position in range(slot.given, end):
            is_last = position == len(slot.prompt) - 1
            if is_last:
                wanted.append((len(tokens), slot))
            tokens.append((slot.prompt[position], position, slot.sequence, is_last))
        slot.given = end
    return tokens, wanted


class _Documents:
    """The documents of one call go through one context, which the next call with the same settings uses."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._context: Any = None
        self._settings: tuple[Any, ...] = ()

    def answer(
        self,
        prompts: list[list[int]],
        tokens: int,
        shared: int,
        sequences: int,
        batch_tokens: int,
        step_tokens: int,
        is_unified: bool,
        flash: bool,
        threads: int,
    ) -> dict[str, Any]:
        """Exactly `tokens` greedy tokens for every prompt.

        The first `shared` tokens of all prompts are the same: they are computed once, and each sequence
        begins with a copy. With 0, every prompt is computed whole.
        """
        longest = max(map(len, prompts)) + tokens
        context = self._emptied_context(
            sequences=sequences + (1 if shared else 0),
            tokens=longest,
            batch_tokens=batch_tokens,
            step_tokens=step_tokens,
            is_unified=is_unified,
            flash=flash,
            threads=threads,
        )
        llama = self._model.llama
        memory = llama.llama_get_memory(context)
        rows: list[list[int]] = [[] for _ in prompts]
        cpu, started = time.process_time(), time.perf_counter()
        for start in range(0, shared, batch_tokens):
            part = prompts[0][start : min(shared, start + batch_tokens)]
            places = enumerate(part, start)
            self._model.run(context, [(token, place, sequences, False) for place, token in places])
        waiting = deque(range(len(prompts)))
        slots = [Slot(sequence) for sequence in range(sequences)]
        while True:
            for slot in slots:
                if slot.number < 0 and waiting:
                    slot.number = waiting.popleft()
                    slot.prompt, slot.given, slot.row = prompts[slot.number], shared, []
                    if shared:
                        llama.llama_memory_seq_cp(memory, sequences, slot.sequence, -1, -1)
            batch, wanted = next_batch(slots, batch_tokens)
            if not batch:
                break
            self._model.run(context, batch)
            for index, slot in wanted:
                slot.row.append(self._model.best(context, index))
                if len(slot.row) == tokens:
                    rows[slot.number] = slot.row
                    slot.number = -1
                    llama.llama_memory_seq_rm(memory, slot.sequence, -1, -1)
        return {
            "tokens": rows,
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
        }

    def _emptied_context(self, **settings: Any) -> Any:
        llama = self._model.llama
        wanted = tuple(settings.values())
        if wanted != self._settings:
            if self._context is not None:
                llama.llama_free(self._context)
            self._context, self._settings = None, ()
            self._context = self._model.new_context(**settings)
            self._settings = wanted
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        return self._context
