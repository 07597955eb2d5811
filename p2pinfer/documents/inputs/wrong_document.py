"""A document that can't be asked for, whatever the swarm does. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from p2pinfer.documents.jobs.job import Document
from p2pinfer.openai_api.errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongDocument:
    """Its place in the input, and what is wrong with it."""

    number: int
    """Among all documents of the input, from 0."""
    line: int
    """Of the input file, from 1."""
    custom_id: str
    """Empty where none can be read."""
    error: ApiError

    def document(self) -> Document:
        """What is kept of it, so that its turn comes as that of the others: `raise_if_wrong` knows it."""
        kept = self.error.body() | {"status": self.error.status}
        return Document(number=self.number, custom_id=self.custom_id, url="", body=kept)

    def problem(self) -> dict[str, Any]:
        """As OpenAI tells why a batch failed."""
        return {
            "code": self.error.code,
            "message": self.error.message,
            "param": self.error.param,
            "line": self.line,
        }


def raise_if_wrong(document: Document) -> None:
    """Raise the ApiError of what was a WrongDocument."""
    if document.url:
        return
    error = document.body["error"]
    raise ApiError(document.body["status"], error["message"], param=error["param"], code=error["code"])
