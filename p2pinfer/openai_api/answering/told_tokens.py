"""Tokens with their probabilities, in the three forms that OpenAI's API has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

from p2pinfer.client.texts.request import SampledToken

_LEAST_LOGPROB = -9999.0
"""JSON has no infinity."""


class SpellsTokens(Protocol):
    """What is asked of a tokenizer."""

    def token_bytes(self, token: int) -> bytes:
        """What the token adds to a text."""


def chat_logprobs(tokens: Iterable[SampledToken], tokenizer: SpellsTokens) -> list[dict[str, Any]]:
    """The form of chat completions: one entry for each token."""
    return [
        {
            **_spelled(tokenizer, token.token, token.logprob),
            "top_logprobs": [_spelled(tokenizer, other.token, other.logprob) for other in token.top],
        }
        for token in tokens
    ]


def completion_logprobs(
    tokens: Iterable[SampledToken], tokenizer: SpellsTokens, *, offset: int
) -> tuple[dict[str, Any], int]:
    """The form of completions: lists side by side. `offset` is how many characters came before.

    Returns the offset of what follows, too. Half a character at the end of a token counts as one.
    """
    texts, logprobs, tops, offsets = [], [], [], []
    for token in tokens:
        text = _text(tokenizer.token_bytes(token.token))
        texts.append(text)
        logprobs.append(_finite(token.logprob))
        tops.append(
            {_text(tokenizer.token_bytes(other.token)): _finite(other.logprob) for other in token.top}
        )
        offsets.append(offset)
        offset += len(text)
    return {"tokens": texts, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}, offset


def _spelled(tokenizer: SpellsTokens, token: int, logprob: float | None) -> dict[str, Any]:
    spelled = tokenizer.token_bytes(token)
    return {"token": _text(spelled), "logprob": _finite(logprob), "bytes": list(spelled)}


def _text(spelled: bytes) -> str:
    return spelled.decode(errors="replace")


def _finite(logprob: float | None) -> float:
    return max(logprob, _LEAST_LOGPROB) if logprob is not None and math.isfinite(logprob) else _LEAST_LOGPROB
