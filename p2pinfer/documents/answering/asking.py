"""Asks the models of this process, as documents do: in the background, and counting what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from p2pinfer.documents.jobs.job import Spent
from p2pinfer.errors import PromptTooLongError
from p2pinfer.openai_api.answering.choices import Usage
from p2pinfer.openai_api.shapes.embeddings import EmbeddingRequest
from p2pinfer.openai_api.whole_answers import Answer, answered, read_request, whole_work
from p2pinfer.openai_api.work.registry import Models

FAR_TOO_MANY = 1 << 30
"""Tokens of a prompt that are too many to be counted."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The models that documents ask. `most_tokens` counts where a request says nothing."""

    models: Models
    most_tokens: int | None = None
    cache_scope: str = ""
    """Whose documents they are, where several owners ask: they share nothing that was computed."""

    async def ask(self, url: str, body: dict[str, Any]) -> Answer:
        """An answer as a whole. Raises ApiError, and what the core raises."""
        request = read_request(url, body)
        return await answered(
            self.models,
            request,
            most_tokens=self.most_tokens,
            is_background=True,
            cache_scope=self.cache_scope,
        )

    async def prompt_tokens(self, url: str, body: dict[str, Any]) -> int:
        """How many tokens the prompt of a request for one text has; FAR_TOO_MANY if it has far too many.

        Raises ApiError and UsageError.
        """
        request = read_request(url, body)
        assert not isinstance(request, EmbeddingRequest), "vectors have no prompt"
        try:
            todo = await whole_work(self.models.find(request.model), request, self.most_tokens)
        except PromptTooLongError:
            return FAR_TOO_MANY
        return len(todo.work.requests[0].prompt)


def spent_of(usage: Usage) -> Spent:
    """What an answer took, as jobs count it."""
    return Spent(
        prefill_tokens=max(0, usage.prompt_tokens - usage.cached_tokens),
        cached_tokens=usage.cached_tokens,
        decode_tokens=usage.completion_tokens,
    )
