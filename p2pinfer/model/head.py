"""Which tensor becomes a model's head: the file decides, where its config says something else.

`transformers` does the same: `tie_word_embeddings` means that embeddings and head are one tensor, but a file
that holds two different ones was trained with two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pinfer.model.formats.weights import WeightSource

EMBEDDINGS = "embed_tokens.weight"
HEAD = "lm_head.weight"

_BLOCK_ELEMENTS = 1 << 22
"""Weights in one block of rows: 16 MB of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where embeddings and head come from."""

    tied: bool  # the embeddings serve as head
    embeddings: str  # the tensor that holds the embeddings
    remark: str | None = None  # what the owner of the model should know


def find_head(config: Mapping[str, Any], source: WeightSource) -> Head:
    """Choose the head of a normalised config's model. Reads both tensors only if they should be one."""
    if not config["tie_word_embeddings"] or HEAD not in source.shapes:
        return Head(tied=bool(config["tie_word_embeddings"]), embeddings=EMBEDDINGS)
    if EMBEDDINGS not in source.shapes:
        return Head(tied=True, embeddings=HEAD)
    if _equal(source, EMBEDDINGS, HEAD):
        return Head(tied=True, embeddings=EMBEDDINGS)
    return Head(
        tied=False,
        embeddings=EMBEDDINGS,
        remark=f"the config of {source.name} says tie_word_embeddings, but its files hold a head ({HEAD}) "
        "that differs from the embeddings: this head is used, as in transformers",
    )


def _equal(source: WeightSource, one: str, other: str) -> bool:
    if source.shapes[one] != source.shapes[other]:
        return False
    rows, *columns = source.shapes[one]
    block_rows = max(1, _BLOCK_ELEMENTS // max(1, *columns, 1))
    return all(
        np.array_equal(
            source.rows(one, start, min(start + block_rows, rows)),
            source.rows(other, start, min(start + block_rows, rows)),
        )
        for start in range(0, rows, block_rows)
    )
