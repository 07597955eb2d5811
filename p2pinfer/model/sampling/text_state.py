"""One answer from its first scores to its end: which token comes next, what can be shown, when it is over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import UsageError
from p2pinfer.model.sampling.constraint import Constraint
from p2pinfer.model.sampling.detokenizer import Detokenizer
from p2pinfer.model.sampling.options import SamplingOptions
from p2pinfer.model.sampling.sampled import SampledToken, TextPart
from p2pinfer.model.sampling.sampler import Sampler
from p2pinfer.model.sampling.stop_strings import StopStrings
from p2pinfer.model.text.tokenizer import Tokenizer

Reason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """What one step of the model has brought."""

    part: TextPart | None
    """None if there is nothing to tell: the answer has ended with a token that isn't shown."""

    token: int | None
    """The token to give to the model next; None: the answer has ended."""

    reason: Reason | None = None
    """Why the answer has ended; None: it goes on."""

    stop: str | None = None
    """The stop text that has ended it."""


class TextState:
    """The whole state of one answer. One thread at a time.

    It is a function of what it is made with and of the scores it was given: made again and given the same
    scores, it gives the same text.
    """

    def __init__(
        self,
        *,
        prompt: Sequence[int],
        sampling: SamplingOptions,
        tokenizer: Tokenizer,
        end_tokens: Collection[int],
        max_tokens: int,
        vocab_size: int,
        stop: Sequence[str] = (),
        show_special: bool = False,
        constraint: Constraint | None = None,
    ) -> None:
        """`vocab_size` is the number of scores, which may be larger than the tokenizer's.

        Raises UsageError for an empty stop text, a bias for a token that isn't there, or no room for a token.
        """
        if max_tokens < 1:
            raise UsageError(f"max_tokens is {max_tokens}: an answer has room for at least one token")
        self._sampler = Sampler(sampling, prompt, vocab_size)
        self._detokenizer = Detokenizer(tokenizer, show_special=show_special)
        self._stops = StopStrings(stop)
        self._end_tokens = frozenset(end_tokens)
        self._max_tokens = max_tokens
        self._constraint = constraint
        self.completion_tokens = 0
        """How many tokens were chosen, the end token included."""

        self.has_ended = False

    def advance(self, logits: NDArray[np.float32]) -> Advanced:
        """Choose the next token from the model's scores [vocab_size], and say what follows.

        Raises ModelError and UsageError as `Sampler.sample`, and what the constraint raises.
        """
        assert not self.has_ended, "the answer has ended"
        if self._constraint is not None and self._constraint.is_done:
            return self._ended("", (), "stop")
        sampled = self._sampler.sample(
            logits, None if self._constraint is None else self._constraint.allowed()
        )
        self.completion_tokens += 1
        if sampled.token in self._end_tokens:
            return self._ended("", (), "stop")
        if self._constraint is not None:
            self._constraint.accept(sampled.token)
        text, stop = self._stops.feed(self._detokenizer.add(sampled.token))
        if stop is not None:
            self.has_ended = True
            return Advanced(part=TextPart(text=text, tokens=(sampled,)), token=None, reason="stop", stop=stop)
        if self._constraint is not None and self._constraint.is_done:
            return self._ended(text, (sampled,), "stop")
        if self.completion_tokens == self._max_tokens:
            return self._ended(text, (sampled,), "length")
        return Advanced(part=TextPart(text=text, tokens=(sampled,)), token=sampled.token)

    def _ended(self, text: str, tokens: tuple[SampledToken, ...], reason: Reason) -> Advanced:
        """The end, with the text that was held back. A stop text may be complete only now."""
        self.has_ended = True
        more, stop = self._stops.feed(self._detokenizer.flush())
        text += more if stop is not None else more + self._stops.flush()
        part = TextPart(text=text, tokens=tokens) if text or tokens else None
        return Advanced(part=part, token=None, reason="stop" if stop is not None else reason, stop=stop)
