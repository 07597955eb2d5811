"""Prompts for the tiny model, options, and what a streamer gets."""

from __future__ import annotations

import torch
from transformers.generation.streamers import BaseStreamer

from tests.model.tiny_models import VOCAB_SIZE

GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
CLOSE = {"atol": 0.1, "rtol": 0.0}
"""INT8 layers whose roundings fall differently; a wrong position or token is off by 1 to 20."""


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random ids without special tokens."""
    return torch.randint(3, VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(seed))


def padded(*lengths: int, left: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch with rows of these lengths and its mask."""
    width = max(lengths)
    ids, mask = torch.zeros(len(lengths), width, dtype=torch.long), torch.zeros(len(lengths), width).long()
    for row, length in enumerate(lengths):
        where = slice(width - length, None) if left else slice(0, length)
        ids[row, where], mask[row, where] = tokens(length, seed=row), 1
    return ids, mask


class Kept(BaseStreamer):
    """Keeps what a streamer gets."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True
