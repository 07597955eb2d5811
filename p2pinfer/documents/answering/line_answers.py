"""Answers the lines of a batch file."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.documents.answering.asking import Asker, spent_of
from p2pinfer.documents.inputs.wrong_document import raise_if_wrong
from p2pinfer.documents.jobs.job import Document, Outcome
from p2pinfer.documents.running.document_parts import DocumentParts


@dataclass(frozen=True, slots=True)
class LineAnswers:
    """A document is a request."""

    asker: Asker

    async def answer(self, document: Document, parts: DocumentParts) -> Outcome:
        """The answer. Raises ApiError for a wrong line or request, and what the core raises."""
        raise_if_wrong(document)
        answer = await self.asker.ask(document.url, document.body)
        return Outcome(number=document.number, status=200, body=answer.body, spent=spent_of(answer.usage))
