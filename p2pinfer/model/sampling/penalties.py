"""What changes the scores before a draw: biases, and penalties for tokens that were there already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import UsageError
from p2pinfer.model.sampling.options import BAN_BIAS, FORCE_BIAS, SamplingOptions

Scores = NDArray[np.float32]


class Biases:
    """The logit biases of one request."""

    def __init__(self, options: SamplingOptions, vocab_size: int) -> None:
        """Raises UsageError for a token that the model doesn't have."""
        outside = [token for token in options.logit_bias if token >= vocab_size]
        if outside:
            raise UsageError(
                f"logit_bias names token {outside[0]}: the model's tokens run from 0 to {vocab_size - 1}"
            )
        self._ids = np.array(sorted(options.logit_bias), np.intp)
        values = np.array([options.logit_bias[int(token)] for token in self._ids], np.float64)
        self._forced = self._ids[values >= FORCE_BIAS]
        self._added = np.where(values <= BAN_BIAS, -np.inf, values).astype(np.float32)

    def __bool__(self) -> bool:
        """False if scores stay as they are."""
        return len(self._ids) > 0

    def apply(self, scores: Scores) -> None:
        """Change the scores in place. A ban goes before everything, a forced token before all others."""
        scores[self._ids] += self._added
        forced = self._forced[scores[self._forced] > -np.inf]
        if len(forced):
            kept = scores[forced]
            scores.fill(-np.inf)
            scores[forced] = kept


class Penalties:
    """The penalties of one request, and the tokens that they look at."""

    def __init__(self, options: SamplingOptions, prompt: Sequence[int], vocab_size: int) -> None:
        """Tokens of the prompt that the vocabulary lacks are left out."""
        self._repetition = options.repetition_penalty
        self._presence = options.presence_penalty
        self._frequency = options.frequency_penalty
        seen = sorted({token for token in prompt if 0 <= token < vocab_size}) if self._repetition != 1 else []
        self._places = {token: place for place, token in enumerate(seen)}
        self._ids = np.array(seen, np.intp)
        self._counts = np.zeros(len(seen), np.float32)  # in the answer

    def __bool__(self) -> bool:
        """False if scores stay as they are."""
        return (self._repetition, self._presence, self._frequency) != (1.0, 0.0, 0.0)

    def add(self, token: int) -> None:
        """Take a token of the answer."""
        place = self._places.setdefault(token, len(self._places))
        if place == len(self._ids):
            room = max(64, 2 * place)
            self._ids = np.resize(self._ids, room) if place else np.zeros(room, np.intp)
            self._counts = np.concatenate([self._counts, np.zeros(room - place, np.float32)])
        self._ids[place] = token
        self._counts[place] += 1

    def apply(self, scores: Scores) -> None:
        """Change the scores in place."""
        ids, counts = self._ids[: len(self._places)], self._counts[: len(self._places)]
        values = scores[ids]
        if self._repetition != 1:
            penalty = np.float32(self._repetition)
            values = np.where(values > 0, values / penalty, values * penalty)
        values -= np.float32(self._presence) * (counts > 0)
        values -= np.float32(self._frequency) * counts
        scores[ids] = values
