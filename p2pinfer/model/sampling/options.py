"""How the next token is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_LOGPROBS = 20
"""The most alternatives that are told for a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """What the sampler does to a model's scores, in the order of these fields, before it draws.

    The defaults draw from the model's own distribution. Raises UsageError for values out of range.
    """

    seed: int = 0
    """Decides all draws, with a token's position in the answer: the same seed gives the same text."""

    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the scores of these tokens; -100 and less bans, 100 and more forces."""

    repetition_penalty: float = 1.0
    """Scores of tokens in prompt or answer are divided by it if positive, else multiplied (CTRL)."""

    presence_penalty: float = 0.0
    """Subtracted once from the scores of tokens that the answer has."""

    frequency_penalty: float = 0.0
    """Subtracted from a token's score for each time that the answer has it."""

    temperature: float = 1.0
    """Scores are divided by it; 0 takes the most likely token."""

    top_k: int = 0
    """Only so many most likely tokens are drawn from; 0: all."""

    top_p: float = 1.0
    """Only the most likely tokens that together have this probability are drawn from."""

    min_p: float = 0.0
    """Only tokens with this share of the likeliest token's probability are drawn from."""

    logprobs: int | None = None
    """How many alternatives are told for each token, 0 to MAX_LOGPROBS; None: no probabilities at all."""
