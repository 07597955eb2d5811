"""Whether the input of a batch can be used: every line, before the first one is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Protocol

from p2pinfer.documents.inputs.batch_lines import read_batch
from p2pinfer.documents.inputs.wrong_document import WrongDocument
from p2pinfer.documents.jobs.job import Document
from p2pinfer.openai_api.errors import ApiError

MOST_LINES = 50_000
"""As OpenAI takes."""
_MOST_PROBLEMS = 100
"""Of a batch are told."""
_MOST_MODEL_CHARACTERS = 256


class Checks(Protocol):
    """Says what is wrong with a request."""

    def __call__(self, url: str, body: dict[str, Any]) -> str:
        """The request's model. Raises ApiError."""


def problems_of(
    file: BinaryIO,
    *,
    url: str,
    check: Checks,
    pacing: Callable[[Iterable[Document | WrongDocument]], Iterable[Document | WrongDocument]],
    most_lines: int = MOST_LINES,
) -> list[dict[str, Any]]:
    """What is wrong with the lines of a batch for `url`, as OpenAI tells it; empty: nothing.

    `pacing` gives the lines as they are, maybe with pauses. Raises OSError, and what `pacing` raises.
    """
    lines = _CountedLines(file)
    found: list[dict[str, Any]] = []
    documents = 0
    first_model: str | None = None
    for document in pacing(read_batch(lines)):
        documents += 1
        if documents > most_lines:
            message = f"A batch has at most {most_lines:,} lines: send several."
            return [*found, _problem("too_many_lines", message, line=lines.count)]
        if isinstance(document, WrongDocument):
            found.append(document.problem())
        else:
            try:
                first_model = _model_of(document, url, check, first_model)
            except ApiError as error:
                message = f"Line {lines.count}: {error.message}"
                found.append(_problem(error.code, message, param=error.param, line=lines.count))
        if len(found) >= _MOST_PROBLEMS:
            return found
    return found if documents else [_problem("empty_file", "The file has no lines.")]


def _model_of(document: Document, url: str, check: Checks, first_model: str | None) -> str:
    """The model of a document, which has to be that of the first one. Raises ApiError."""
    if document.url != url:
        raise ApiError(
            400, f"'url' has to be the endpoint of the batch, {url}.", param="url", code="invalid_url"
        )
    try:
        model = check(url, document.body)
    except ApiError as error:
        param = None if error.param is None else f"body.{error.param}"
        raise ApiError(error.status, error.message, param=param, code=error.code) from error
    if model != (first_model or model):
        raise ApiError(
            400,
            f"All lines have to be for the same model: the first one is for '{first_model}'.",
            param="body.model",
            code="mismatched_model",
        )
    return model


def documents_of(file: BinaryIO, *, after: int) -> Iterator[Document]:
    """The documents of an input that was checked; those whose number is at least `after`. Raises OSError."""
    for document in read_batch(file):
        if isinstance(document, Document) and document.number >= after:
            yield document


def model_of(file: BinaryIO) -> str | None:
    """The model of the first line, as far as it can be read. Raises OSError."""
    first = next(read_batch(file), None)
    model = first.body.get("model") if isinstance(first, Document) else None
    return model if isinstance(model, str) and len(model) <= _MOST_MODEL_CHARACTERS else None


class _CountedLines:
    """A file that knows which of its lines was read last, from 1. Pieces of a long line are one line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._is_within = False
        self.count = 0

    def readline(self, size: int, /) -> bytes:
        data = self._file.readline(size)
        if data:
            self.count += not self._is_within
            self._is_within = not data.endswith(b"\n")
        return data


def _problem(
    code: str | None, message: str, *, param: str | None = None, line: int | None = None
) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}
