"""`POST /v1/chat/completions` and `POST /v1/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from p2pinfer.client.texts.request import TextEnd
from p2pinfer.gateway.answering.chat_answer import ChatChunks, ChatWhole
from p2pinfer.gateway.answering.choices import Piece, Usage
from p2pinfer.gateway.answering.completion_answer import CompletionChunks, CompletionWhole
from p2pinfer.gateway.answering.heading import Heading
from p2pinfer.gateway.answering.route_notes import RouteNotes
from p2pinfer.gateway.answering.server_sent import DONE, data_event
from p2pinfer.gateway.endpoints.routes import STREAM_OR_ERRORS, KeyedRoute, gateway_of
from p2pinfer.gateway.endpoints.running import streamed_answer, whole_answer
from p2pinfer.gateway.gateway import Run
from p2pinfer.gateway.serving.asks import work_of_chat, work_of_completion
from p2pinfer.gateway.serving.work import Work
from p2pinfer.gateway.shapes.chat import ChatRequest
from p2pinfer.gateway.shapes.completions import CompletionRequest
from p2pinfer.gateway.shapes.sampling import TextFields


class Chunks(Protocol):
    """Makes the chunks of a stream."""

    def chunks(self, piece: Piece) -> list[dict[str, Any]]:
        """What a piece adds."""

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The counts of tokens."""


class Whole(Protocol):
    """Makes a whole answer."""

    def add(self, piece: Piece) -> None:
        """Take a piece."""

    def answer(self, usage: Usage) -> dict[str, Any]:
        """The answer."""


def chat_router() -> APIRouter:
    """The two addresses."""
    router = APIRouter(route_class=KeyedRoute)

    @router.post("/chat/completions", response_model=None, responses=STREAM_OR_ERRORS)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """Go on with a conversation."""
        gateway = gateway_of(request)
        model = gateway.models.find(body.model)
        work = await work_of_chat(model, body, gateway.settings.most_tokens)
        heading = Heading.new("chatcmpl-", model.id)
        tokenizer = model.text.tokenizer if work.wants_logprobs else None
        if body.stream:
            chunks = ChatChunks(
                heading,
                work.new_reader,
                choices=len(work.requests),
                tokenizer=tokenizer,
                with_usage=body.stream_options.include_usage,
            )
            return await _stream(request, body, work, chunks)
        return await _whole(
            request,
            body,
            work,
            ChatWhole(heading, work.new_reader, choices=len(work.requests), tokenizer=tokenizer),
        )

    @router.post("/completions", response_model=None, responses=STREAM_OR_ERRORS)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Go on with texts as they are."""
        model = gateway_of(request).models.find(body.model)
        work = await work_of_completion(model, body)
        heading = Heading.new("cmpl-", model.id)
        tokenizer = model.text.tokenizer if work.wants_logprobs else None
        choices = len(work.requests)
        if body.stream:
            chunks = CompletionChunks(
                heading,
                choices=choices,
                tokenizer=tokenizer,
                with_usage=body.stream_options.include_usage,
            )
            return await _stream(request, body, work, chunks)
        whole = CompletionWhole(heading, choices=choices, tokenizer=tokenizer)
        return await _whole(request, body, work, whole)

    return router


async def _whole(request: Request, body: TextFields, work: Work, whole: Whole) -> Response:
    async def answered(run: Run) -> dict[str, Any]:
        async with aclosing(run.pieces()) as pieces:
            async for piece in pieces:
                whole.add(piece)
        return whole.answer(run.usage())

    return await whole_answer(request, work, answered, with_route=body.p2pinfer.route)


async def _stream(request: Request, body: TextFields, work: Work, chunks: Chunks) -> Response:
    return await streamed_answer(
        request,
        work,
        lambda run: _events_of(run, body, chunks),
        failed=lambda error: data_event(error.body()),
    )


async def _events_of(run: Run, body: TextFields, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    notes = RouteNotes(run.choices) if body.p2pinfer.route else None
    left = len(run.choices)
    async with aclosing(run.pieces()) as pieces:
        async for piece in pieces:
            left -= isinstance(piece.content, TextEnd)
            made = chunks.chunks(piece)
            if notes is not None and made:
                note = notes.due() if left else notes.last()
                if note is not None:
                    made[-1]["p2pinfer"] = note
            if made:
                yield b"".join(map(data_event, made))
    if body.stream_options.include_usage:
        yield data_event(chunks.usage_chunk(run.usage()))
    yield DONE
