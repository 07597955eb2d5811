"""The answers to one completion, in chunks and as a whole. Pure."""

from __future__ import annotations

from typing import Any

from p2pinfer.client.texts.request import SampledToken, TextEnd
from p2pinfer.openai_api.answering.choices import Piece, Usage
from p2pinfer.openai_api.answering.heading import Heading
from p2pinfer.openai_api.answering.told_tokens import SpellsTokens, completion_logprobs
from p2pinfer.openai_api.answering.usage_form import completion_usage

Json = dict[str, Any]


class CompletionChunks:
    """Turns pieces into chunks."""

    def __init__(
        self, heading: Heading, *, choices: int, tokenizer: SpellsTokens | None, with_usage: bool
    ) -> None:
        """`tokenizer` is None unless the tokens' probabilities are told."""
        self._offsets = [0] * choices
        self._tokenizer = tokenizer
        self._with_usage = with_usage
        self._heading = _head(heading)

    def chunks(self, piece: Piece) -> list[Json]:
        """What a piece adds."""
        content = piece.content
        if isinstance(content, TextEnd):
            return [self._chunk(piece.index, "", finish_reason=content.reason)]
        told = None
        if self._tokenizer is not None and content.tokens:
            told, self._offsets[piece.index] = completion_logprobs(
                content.tokens, self._tokenizer, offset=self._offsets[piece.index]
            )
        return [self._chunk(piece.index, content.text, logprobs=told)] if content.text or told else []

    def usage_chunk(self, usage: Usage) -> Json:
        """The last chunk of a stream that is to have the counts of tokens."""
        return {**self._heading, "choices": [], "usage": completion_usage(usage)}

    def _chunk(
        self, index: int, text: str, *, finish_reason: str | None = None, logprobs: Json | None = None
    ) -> Json:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = {**self._heading, "choices": [choice]}
        if self._with_usage:
            chunk["usage"] = None
        return chunk


class CompletionWhole:
    """Collects pieces into one answer."""

    def __init__(self, heading: Heading, *, choices: int, tokenizer: SpellsTokens | None) -> None:
        self._heading = heading
        self._tokenizer = tokenizer
        self._texts: list[list[str]] = [[] for _ in range(choices)]
        self._tokens: list[list[SampledToken]] = [[] for _ in range(choices)]
        self._reasons = [""] * choices

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        if isinstance(piece.content, TextEnd):
            self._reasons[piece.index] = piece.content.reason
        else:
            self._texts[piece.index].append(piece.content.text)
            self._tokens[piece.index] += piece.content.tokens

    def answer(self, usage: Usage) -> Json:
        """The answer, when all choices have ended."""
        choices = [
            {
                "index": index,
                "text": "".join(texts),
                "logprobs": self._told(index),
                "finish_reason": self._reasons[index],
            }
            for index, texts in enumerate(self._texts)
        ]
        return {**_head(self._heading), "choices": choices, "usage": completion_usage(usage)}

    def _told(self, index: int) -> Json | None:
        if self._tokenizer is None:
            return None
        return completion_logprobs(self._tokens[index], self._tokenizer, offset=0)[0]


def _head(heading: Heading) -> Json:
    return {
        "id": heading.id,
        "object": "text_completion",
        "created": heading.created,
        "model": heading.model,
    }
