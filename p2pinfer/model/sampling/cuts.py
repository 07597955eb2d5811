"""Which tokens are drawn from: top-k, then top-p among those, then min-p. Equal scores: the lower id first.

A vocabulary has 150,000 tokens and a cut keeps a handful, so nothing here sorts all of them: scores far below
the best one are set aside by one comparison first, and only if too little is left, the next lower bound is
tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from p2pinfer.model.sampling.options import SamplingOptions

Ids = NDArray[np.intp]
Scores = NDArray[np.float32]

_DEPTHS = (4.0, 10.0, 20.0)
"""How far below the best score, in units of the temperature, is looked first: e**-4, e**-10, e**-20."""


def candidates(scores: Scores, options: SamplingOptions) -> Ids:
    """The ids that are left, ascending, at least one. Scores [vocab], with -inf for what is banned.

    The best score is finite, and the temperature not 0.
    """
    best = scores.max()
    ids = top_k(scores, options.top_k, best, options.temperature)
    if options.top_p < 1.0:
        ids = top_p(scores, ids, options.top_p, best, options.temperature)
    if options.min_p > 0.0:
        kept = scores if ids is None else scores[ids]
        floor = float(best) + options.temperature * math.log(options.min_p)
        enough = np.flatnonzero(kept >= floor)
        ids = enough if ids is None else ids[enough]
    return np.flatnonzero(scores > -np.inf) if ids is None else ids


def top_k(scores: Scores, count: int, best: np.float32, temperature: float) -> Ids | None:
    """The ids of the highest scores, ascending; None: all."""
    if count == 0 or count >= len(scores):
        return None
    for ids in _from_the_top(scores, best, temperature):
        if len(ids) >= count:
            return _highest(scores, ids, count)
    return np.flatnonzero(scores > -np.inf)


def top_p(scores: Scores, among: Ids | None, share: float, best: np.float32, temperature: float) -> Ids:
    """The ids of the fewest highest scores that have this share of the probability, ascending."""
    if among is not None:
        wanted = share * float(_weights(scores[among], best, temperature).sum())
        return _top_p(scores, among, wanted, best, temperature)
    weights = _weights(scores, best, temperature)
    wanted = share * float(weights.sum())
    for ids in _from_the_top(scores, best, temperature):
        if float(weights[ids].sum()) > wanted:
            return _top_p(scores, ids, wanted, best, temperature)
    return ids


def _top_p(scores: Scores, ids: Ids, wanted: float, best: np.float32, temperature: float) -> Ids:
    """The ids of the fewest highest scores among these that weigh so much together."""
    reached = np.cumsum(_weights(np.sort(scores[ids])[::-1], best, temperature))
    count = int(np.searchsorted(reached, wanted)) + 1
    return ids if count >= len(ids) else _highest(scores, ids, count)


def _highest(scores: Scores, ids: Ids, count: int) -> Ids:
    """The ids of the `count` highest scores, ascending. Ids come ascending, and are more than `count`."""
    values = scores[ids]
    lowest = np.partition(values, len(values) - count)[len(values) - count]
    above = values > lowest
    ties = np.flatnonzero(values == lowest)
    above[ties[: count - int(np.count_nonzero(above))]] = True
    highest: Ids = ids[above]
    return highest


def _from_the_top(scores: Scores, best: np.float32, temperature: float) -> Iterator[Ids]:
    """The ids of scores near the best one, ascending; then of scores farther below; at last of all."""
    for depth in _DEPTHS:
        yield np.flatnonzero(scores >= float(best) - depth * temperature)
    yield np.flatnonzero(scores > -np.inf)


def _weights(scores: Scores, best: np.float32, temperature: float) -> NDArray[np.float64]:
    """Probabilities up to one factor; the best score has 1."""
    weights = scores.astype(np.float64)
    weights -= float(best)
    with np.errstate(over="ignore", under="ignore"):
        weights /= temperature
        np.exp(weights, out=weights)
    return weights
