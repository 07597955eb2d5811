"""What makes the answers of a batch: the models of this gateway, counted for the key that made the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from p2pinfer.documents.answering.line_answers import LineAnswers
from p2pinfer.documents.jobs.job import Document, Outcome, Spent
from p2pinfer.documents.running.document_parts import DocumentParts
from p2pinfer.errors import NoRouteError
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.whole_answers import read_request
from p2pinfer.openai_api.work.registry import Models


@dataclass(frozen=True, slots=True)
class CheckedLines:
    """Looks at requests before any is answered."""

    models: Models

    def __call__(self, url: str, body: dict[str, Any]) -> str:
        """The request's model. Raises ApiError for a request that can't be answered, whatever the swarm."""
        return self.models.find(read_request(url, body).model).id


@dataclass(frozen=True, slots=True)
class CountedAnswers:
    """Answers, of which each is counted."""

    lines: LineAnswers
    model: str
    count: Callable[[str, Spent], None]
    """Is told the model, and what an answer took."""

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        """The answer. Raises ApiError, and what the core raises."""
        try:
            outcome = await self.lines.answer(document, parts)
        except ApiError as error:
            if error.code == "model_not_found":  # it was there when the batch was checked
                raise NoRouteError(f"{self.model} isn't served now") from error
            raise
        self.count(self.model, outcome.spent)
        return outcome
