"""From a model's scores to the next token of one answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ModelError, UsageError
from p2pinfer.model.sampling.cuts import candidates
from p2pinfer.model.sampling.logprobs import told
from p2pinfer.model.sampling.noise import BLOCK, draw_key, gumbel
from p2pinfer.model.sampling.options import SamplingOptions
from p2pinfer.model.sampling.penalties import Biases, Penalties
from p2pinfer.model.sampling.sampled import SampledToken

Scores = NDArray[np.float32]


class Sampler:
    """Chooses the tokens of one answer, one after another. One thread at a time.

    The n-th token depends on options, prompt, the tokens before it, and the scores: not on other answers,
    and not on when or where it is chosen.
    """

    def __init__(self, options: SamplingOptions, prompt: Sequence[int], vocab_size: int) -> None:
        """Raises UsageError if `logit_bias` names a token that the model doesn't have."""
        self._options = options
        self._vocab_size = vocab_size
        self._biases = Biases(options, vocab_size)
        self._penalties = Penalties(options, prompt, vocab_size)
        self._is_plain = options.temperature == 0 and not self._biases and not self._penalties
        self._position = 0

    def sample(self, logits: Scores, allowed: NDArray[np.bool_] | None = None) -> SampledToken:
        """Choose the next token. Logits and `allowed` are [vocab_size], and stay as they are.

        Equal scores: the lower token id wins. Raises ModelError if a score is not a number or plus
        infinity, and UsageError if no token is left.
        """
        assert logits.shape == (self._vocab_size,), "logits of another model"
        best = int(logits.argmax())  # finds NaN too, wherever it is
        if not logits[best] < np.inf:
            raise ModelError(
                f"the model's score for token {best} is {logits[best]}: its files or a server's computation "
                "are broken; ask again, over other servers if that doesn't help"
            )
        if self._is_plain and (allowed is None or allowed[best]):
            scores = logits  # a grammar mostly allows what the model would say anyway
        else:
            scores = self._changed(logits, allowed)
            best = int(scores.argmax())
        if scores[best] == -np.inf:
            raise UsageError(
                f"no token is left for place {self._position} of the answer: the grammar and logit_bias "
                "together forbid all of them"
            )
        token = best if self._options.temperature == 0 else self._drawn(scores)
        self._position += 1
        if self._penalties:
            self._penalties.add(token)
        if self._options.logprobs is None:
            return SampledToken(token=token, logprob=None)
        return told(logits, token, self._options.logprobs)

    def _changed(self, logits: Scores, allowed: NDArray[np.bool_] | None) -> Scores:
        """The scores after grammar, biases and penalties; the logits themselves if nothing changes them."""
        if allowed is None and not self._biases and not self._penalties:
            return logits
        scores = np.array(logits, np.float32) if allowed is None else _masked(logits, allowed)
        if self._biases:
            self._biases.apply(scores)
        if self._penalties:
            self._penalties.apply(scores)
        return scores

    def _drawn(self, scores: Scores) -> int:
        ids = candidates(scores, self._options)
        if len(ids) == 1:
            return int(ids[0])
        key = draw_key(self._options.seed, self._position)
        top = float(scores.max())
        winner, highest = -1, -np.inf
        for start in range(0, len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            values = scores[block].astype(np.float64)
            values -= top
            with np.errstate(over="ignore"):
                values /= self._options.temperature
            values += gumbel(key, block)
            place = int(values.argmax())
            if values[place] > highest:  # of equals the lower id, which came first, stays
                winner, highest = int(block[place]), float(values[place])
        return winner


def _masked(logits: Scores, allowed: NDArray[np.bool_]) -> Scores:
    assert allowed.shape == logits.shape, "a mask of another model"
    masked: Scores = np.where(allowed, logits, np.float32(-np.inf))
    return masked
