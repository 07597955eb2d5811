"""Log probabilities by the model's own scores, before a grammar, biases, penalties, temperature and cuts.

OpenAI's API and vLLM tell these by default: they say what the model thinks, not what the options left of it.
So the chosen token's may be low, and need not be among the likeliest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.sampling.cuts import top_k
from p2pinfer.model.sampling.sampled import Alternative, SampledToken

Scores = NDArray[np.float32]


def told(logits: Scores, token: int, count: int) -> SampledToken:
    """The token with its log probability and the `count` likeliest ones. Logits [vocab], the best finite."""
    best = logits.max()
    weights = np.exp(logits - best)  # float32 is enough here: nothing is decided by it
    total = float(best) + float(np.log(weights.sum(dtype=np.float64)))
    return SampledToken(
        token=token,
        logprob=float(logits[token]) - total,
        top=tuple(
            Alternative(token=one, logprob=float(logits[one]) - total)
            for one in _likeliest(logits, count, best)
            if logits[one] > -np.inf
        ),
    )


def _likeliest(logits: Scores, count: int, best: np.float32) -> list[int]:
    """The tokens with the highest scores, the highest first; of equals, the lower id first."""
    if count == 0:
        return []
    ids = top_k(logits, count, best, 1.0)
    ids = np.arange(len(logits)) if ids is None else ids
    return [int(ids[place]) for place in np.argsort(-logits[ids], kind="stable")]
