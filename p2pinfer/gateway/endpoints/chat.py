"""`POST /v1/chat/completions` and `POST /v1/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from p2pinfer.client.texts.request import TextEnd
from p2pinfer.gateway.answering.route_notes import RouteNotes
from p2pinfer.gateway.answering.server_sent import DONE, data_event
from p2pinfer.gateway.endpoints.routes import STREAM_OR_ERRORS, KeyedRoute, gateway_of
from p2pinfer.gateway.endpoints.running import streamed_answer, whole_answer
from p2pinfer.gateway.gateway import Run
from p2pinfer.openai_api.answering.chat_answer import ChatChunks
from p2pinfer.openai_api.answering.choices import Piece, Usage
from p2pinfer.openai_api.answering.completion_answer import CompletionChunks
from p2pinfer.openai_api.answering.heading import Heading
from p2pinfer.openai_api.shapes.chat import ChatRequest
from p2pinfer.openai_api.shapes.completions import CompletionRequest
from p2pinfer.openai_api.shapes.sampling import TextFields
from p2pinfer.openai_api.whole_answers import whole_work
from p2pinfer.openai_api.work.asks import work_of_chat, work_of_completion
from p2pinfer.openai_api.work.work import Work


class Chunks(Protocol):
    """Makes the chunks of a stream."""

    def chunks(self, piece: Piece) -> list[dict[str, Any]]:
        """What a piece adds."""

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The counts of tokens."""


def chat_router() -> APIRouter:
    """The two addresses."""
    router = APIRouter(route_class=KeyedRoute)

    @router.post("/chat/completions", response_model=None, responses=STREAM_OR_ERRORS)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """Go on with a conversation."""
        gateway = gateway_of(request)
        model, most_tokens = gateway.models.find(body.model), gateway.settings.most_tokens
        if not body.stream:
            todo = await whole_work(model, body, most_tokens)
            return await whole_answer(request, todo, with_route=body.p2pinfer.route)
        work = await work_of_chat(model, body, most_tokens)
        chunks = ChatChunks(
            Heading.new("chatcmpl-", model.id),
            work.new_reader,
            choices=len(work.requests),
            tokenizer=model.text.tokenizer if work.wants_logprobs else None,
            with_usage=body.stream_options.include_usage,
        )
        return await _stream(request, body, work, chunks)

    @router.post("/completions", response_model=None, responses=STREAM_OR_ERRORS)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Go on with texts as they are."""
        model = gateway_of(request).models.find(body.model)
        if not body.stream:
            todo = await whole_work(model, body, None)
            return await whole_answer(request, todo, with_route=body.p2pinfer.route)
        work = await work_of_completion(model, body)
        chunks = CompletionChunks(
            Heading.new("cmpl-", model.id),
            choices=len(work.requests),
            tokenizer=model.text.tokenizer if work.wants_logprobs else None,
            with_usage=body.stream_options.include_usage,
        )
        return await _stream(request, body, work, chunks)

    return router


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
