"""Greedy generation by transformers' generate(), with any model."""

from __future__ import annotations

from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from scripts.benchmarks.contenders.clock import Clock


class _Ticking(BaseStreamer):
    """A streamer: generate() first gives it the prompt, then the next token of all sequences at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        if self._prompt_seen:
            self._clock.tick()
        self._prompt_seen = True

    def end(self) -> None:
        pass


def decode(model: Any, prompts: list[list[int]], tokens: int) -> dict[str, Any]:
    """Generate exactly `tokens` new tokens for every prompt. The prompts are equally long."""
    model.generation_config.eos_token_id = None  # no contender stops early
    ids = torch.tensor(prompts)
    clock = Clock()
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        streamer=_Ticking(clock),
    )
    return clock.answer(output[:, ids.shape[1] :].tolist())
