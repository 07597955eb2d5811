"""The token ids that every contender is given."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from p2pinfer.model.layer_store.store import LayerStore

QUESTION = "Explain in detail how a bicycle stays upright while it is moving."


@cache
def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def question(store: LayerStore) -> list[int]:
    """One question, in the model's chat form."""
    return _encoded(store, QUESTION)


def questions(store: LayerStore, count: int) -> list[list[int]]:
    """Different questions, equally long where every digit is a token: they differ in a number."""
    return [_encoded(store, f"Question {number:03}. {QUESTION}") for number in range(count)]


def long_text(store: LayerStore, tokens: int) -> list[int]:
    """A text of exactly this number of tokens."""
    ids: list[int] = _tokenizer(str(store.folder))(" ".join([QUESTION] * tokens)).input_ids
    return ids[:tokens]


def random_ids(store: LayerStore, tokens: int) -> list[int]:
    """Random token ids, for a model that has no tokenizer."""
    ids: list[int] = np.random.default_rng(1).integers(0, store.manifest.vocab_size, tokens).tolist()
    return ids


def _encoded(store: LayerStore, text: str) -> list[int]:
    from p2pinfer.local_swarm.answer import encode_prompt

    ids: list[int] = encode_prompt(_tokenizer(str(store.folder)), text)[0].tolist()
    return ids
