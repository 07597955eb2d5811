"""Batches with padding: which tokens are real, and scores back in their columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from p2pinfer.errors import UsageError


def real_tokens(attention_mask: torch.Tensor | None, sequences: int, columns: int) -> NDArray[np.bool_]:
    """Return where the newest `columns` hold real tokens, [sequences, columns]: everywhere without a mask.

    Raises UsageError if the mask's shape does not fit.
    """
    if attention_mask is None:
        return np.ones((sequences, columns), dtype=bool)
    if attention_mask.dim() != 2 or attention_mask.shape[1] < columns:
        raise UsageError("attention_mask must have the shape [sequences, tokens], 0 where padding is")
    real: NDArray[np.bool_] = attention_mask[:, -columns:].numpy().astype(bool)
    return real


def spread(
    scores: NDArray[np.float32], real: NDArray[np.bool_], wanted: Sequence[int]
) -> NDArray[np.float32]:
    """Put scores [sum of wanted, vocabulary] where `real` [sequences, columns] is true, zeros elsewhere."""
    if real.all():  # nothing is copied
        return scores.reshape(*real.shape, -1)
    logits = np.zeros((*real.shape, scores.shape[1]), dtype=np.float32)
    start = 0
    for index, count in enumerate(wanted):
        where = np.flatnonzero(real[index])
        logits[index, where] = scores[start : start + len(where)]
        start += count
    return logits
