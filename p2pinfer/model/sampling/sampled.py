"""What comes of one step of one answer. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A token and the logarithm of its probability by the model's own scores, before everything else."""

    token: int
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledToken:
    """One token of an answer."""

    token: int
    logprob: float | None
    """None unless it was asked for."""

    top: tuple[Alternative, ...] = ()
    """The likeliest tokens at its place, the likeliest first; of equals, the lower token id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """The next piece of an answer. Its text is whole characters, and may be empty.

    Text is held back while it may be part of a character or of a stop text, so it may belong to tokens of
    earlier parts.
    """

    text: str
    tokens: tuple[SampledToken, ...]
