"""How the next token is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

from p2pinfer.errors import UsageError

MAX_LOGPROBS = 20
"""The most alternatives that are told for a token."""

BAN_BIAS = -100.0
"""A bias from here down bans a token."""

FORCE_BIAS = 100.0
"""A bias from here up forces: no other token is chosen where one with such a bias is allowed."""


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

    def __post_init__(self) -> None:
        """Refuse what is out of range; keep plain numbers, and a mapping that nobody changes."""
        whole = {"seed": (-(1 << 63), (1 << 64) - 1), "top_k": (0, (1 << 31) - 1)}
        for name, (least, most) in whole.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), least, most))
        if self.logprobs is not None:
            object.__setattr__(self, "logprobs", _whole("logprobs", self.logprobs, 0, MAX_LOGPROBS))
        for name, (lowest, highest) in _RANGES.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), lowest, highest))
        object.__setattr__(self, "logit_bias", _biases(self.logit_bias))


_RANGES = {
    "repetition_penalty": (0.01, 100.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
}

_HIGHEST_TOKEN = (1 << 31) - 1
_HIGHEST_BIAS = 1e6


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most:
        return int(value)
    raise UsageError(f"{name} is {_shown(value)}: it has to be a whole number from {least} to {most}")


def _number(name: str, value: Any, lowest: float, highest: float) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if lowest <= number <= highest:  # which NaN isn't
            return number
    raise UsageError(f"{name} is {_shown(value)}: it has to be a number from {lowest:g} to {highest:g}")


def _biases(value: Any) -> Mapping[int, float]:
    if not isinstance(value, Mapping):
        raise UsageError(f"logit_bias is {_shown(value)}: it has to map token ids to numbers")
    return MappingProxyType(
        {
            _whole("a token id of logit_bias", token, 0, _HIGHEST_TOKEN): _number(
                f"logit_bias of token {_shown(token)}", bias, -_HIGHEST_BIAS, _HIGHEST_BIAS
            )
            for token, bias in value.items()
        }
    )


def _shown(value: Any) -> str:
    """A value for a message, however large it is."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        return f"a {type(value).__name__} too large to print"
    return text if len(text) <= 80 else f"{text[:80]}…"
