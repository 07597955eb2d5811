"""Answers as a whole, whatever the endpoint: for requests that don't stream, and for batches."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from p2pinfer.client.texts.request import TextEnd
from p2pinfer.openai_api.answering.chat_answer import ChatWhole
from p2pinfer.openai_api.answering.choices import Choices, Piece, Usage
from p2pinfer.openai_api.answering.completion_answer import CompletionWhole
from p2pinfer.openai_api.answering.embedding_answer import embedding_answer
from p2pinfer.openai_api.answering.heading import Heading
from p2pinfer.openai_api.answering.response_answer import ResponseAnswer
from p2pinfer.openai_api.errors import ApiError, refused_field
from p2pinfer.openai_api.shapes.chat import ChatRequest
from p2pinfer.openai_api.shapes.completions import CompletionRequest
from p2pinfer.openai_api.shapes.embeddings import EmbeddingRequest
from p2pinfer.openai_api.shapes.responses import ResponseRequest
from p2pinfer.openai_api.validation import validated
from p2pinfer.openai_api.work.asks import work_of_chat, work_of_completion, work_of_response
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.openai_api.work.served_model import ServedModel
from p2pinfer.openai_api.work.work import Work

AnyRequest = ChatRequest | CompletionRequest | EmbeddingRequest | ResponseRequest
TextsRequest = ChatRequest | CompletionRequest | ResponseRequest

_SHAPES: dict[str, type[AnyRequest]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/responses": ResponseRequest,
}
BATCH_URLS = tuple(_SHAPES)
"""The endpoints that a line of a batch can name."""


class Whole(Protocol):
    """Collects pieces into one answer."""

    def add(self, piece: Piece) -> None:
        """Take a piece."""

    def answer(self, usage: Usage) -> dict[str, Any]:
        """The answer, when all choices have ended."""


@dataclass(frozen=True, slots=True)
class WholeWork:
    """What to compute, and what makes an answer of it."""

    work: Work
    whole: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, and what it took."""

    body: dict[str, Any]
    usage: Usage


def read_request(url: str, body: object) -> AnyRequest:
    """Check a request that doesn't stream. Raises ApiError for what isn't one, with the field's name."""
    shape = _SHAPES.get(url)
    if shape is None:
        raise ApiError(404, f"'{url}' isn't one of {', '.join(BATCH_URLS)}", param="url", code="invalid_url")
    request = validated(shape, body)
    if not isinstance(request, EmbeddingRequest) and request.stream:
        raise refused_field("stream", "'stream' isn't supported in a batch: leave it out")
    return request


async def answered(
    models: Models,
    request: AnyRequest,
    *,
    most_tokens: int | None,
    is_background: bool,
    cache_scope: str = "",
) -> Answer:
    """Answer a request. Raises ApiError, and what the core raises (`errors.as_api_error` reads it).

    `most_tokens` counts where the request says nothing. `cache_scope` is as in TextRequest. Cancelled, it
    frees the rows of its texts.
    """
    model = models.find(request.model)
    if isinstance(request, EmbeddingRequest):
        body, usage = await embedding_answer(model, request)
        return Answer(body=body, usage=usage)
    todo = await whole_work(model, request, most_tokens)
    work = todo.work
    texts = [replace(one, is_background=is_background, cache_scope=cache_scope) for one in work.requests]
    async with Choices(model.text, texts, per_prompt=work.per_prompt) as choices:
        async with aclosing(choices.pieces()) as pieces:
            async for piece in pieces:
                todo.whole.add(piece)
        usage = choices.usage()
    return Answer(body=todo.whole.answer(usage), usage=usage)


async def whole_work(model: ServedModel, request: TextsRequest, most_tokens: int | None) -> WholeWork:
    """What a request asks for. Raises ApiError and UsageError."""
    match request:
        case ChatRequest():
            work = await work_of_chat(model, request, most_tokens)
            tokenizer = model.text.tokenizer if work.wants_logprobs else None
            heading = Heading.new("chatcmpl-", model.id)
            return WholeWork(
                work, ChatWhole(heading, work.new_reader, choices=len(work.requests), tokenizer=tokenizer)
            )
        case CompletionRequest():
            work = await work_of_completion(model, request)
            tokenizer = model.text.tokenizer if work.wants_logprobs else None
            heading = Heading.new("cmpl-", model.id)
            return WholeWork(work, CompletionWhole(heading, choices=len(work.requests), tokenizer=tokenizer))
        case ResponseRequest():
            work = await work_of_response(model, request, most_tokens)
            return WholeWork(work, _ResponseWhole(response_answer(model, request, work)))


def response_answer(model: ServedModel, request: ResponseRequest, work: Work) -> ResponseAnswer:
    """What tells the answer to a response."""
    return ResponseAnswer(
        Heading.new("resp_", model.id),
        request,
        work.new_reader(),
        tokenizer=model.text.tokenizer if work.wants_logprobs else None,
    )


class _ResponseWhole:
    """A response, whose events nobody reads."""

    def __init__(self, answer: ResponseAnswer) -> None:
        self._answer = answer
        self._end: TextEnd | None = None

    def add(self, piece: Piece) -> None:
        self._answer.take(piece)
        self._end = piece.content if isinstance(piece.content, TextEnd) else None

    def answer(self, usage: Usage) -> dict[str, Any]:
        assert self._end is not None, "a text ended without an end"
        return self._answer.answer(self._end, usage)
