"""`POST /v1/responses`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response

from p2pinfer.client.texts.request import TextEnd
from p2pinfer.gateway.answering.heading import Heading
from p2pinfer.gateway.answering.response_answer import ResponseAnswer
from p2pinfer.gateway.answering.route_notes import RouteNotes
from p2pinfer.gateway.answering.server_sent import named_event
from p2pinfer.gateway.endpoints.routes import STREAM_OR_ERRORS, KeyedRoute, gateway_of
from p2pinfer.gateway.endpoints.running import streamed_answer, whole_answer
from p2pinfer.gateway.gateway import Run
from p2pinfer.gateway.serving.asks import work_of_response
from p2pinfer.gateway.serving.work import Work
from p2pinfer.gateway.shapes.responses import ResponseRequest


def responses_router() -> APIRouter:
    """The address."""
    router = APIRouter(route_class=KeyedRoute)

    @router.post(
        "/responses",
        response_model=None,
        responses=STREAM_OR_ERRORS,
    )
    async def responses(request: Request, body: ResponseRequest) -> Response:
        """Go on with a conversation of items. Nothing is stored."""
        gateway = gateway_of(request)
        model = gateway.models.find(body.model)
        work = await work_of_response(model, body, gateway.settings.most_tokens)
        answer = ResponseAnswer(
            Heading.new("resp_", model.id),
            body,
            work.new_reader(),
            tokenizer=model.text.tokenizer if work.wants_logprobs else None,
        )
        return await (_stream if body.stream else _whole)(request, body, work, answer)

    return router


async def _whole(request: Request, body: ResponseRequest, work: Work, answer: ResponseAnswer) -> Response:
    async def answered(run: Run) -> dict[str, Any]:
        end: TextEnd | None = None
        async with aclosing(run.pieces()) as pieces:
            async for piece in pieces:
                answer.take(piece)
                end = piece.content if isinstance(piece.content, TextEnd) else None
        assert end is not None, "a text ended without an end"
        return answer.answer(end, run.usage())

    return await whole_answer(request, work, answered, with_route=body.p2pinfer.route)


async def _stream(request: Request, body: ResponseRequest, work: Work, answer: ResponseAnswer) -> Response:
    return await streamed_answer(
        request,
        work,
        lambda run: _events_of(run, body, answer),
        failed=lambda error: named_event(answer.failed(error)),
    )


async def _events_of(run: Run, body: ResponseRequest, answer: ResponseAnswer) -> AsyncGenerator[bytes, None]:
    notes = RouteNotes(run.choices) if body.p2pinfer.route else None
    begun = False
    async with aclosing(run.pieces()) as pieces:
        async for piece in pieces:
            made = [] if begun else answer.begin()
            begun = True
            made += answer.take(piece)
            end = piece.content if isinstance(piece.content, TextEnd) else None
            if end is not None:
                made.append(answer.end(end, run.usage()))
            note = None
            if notes is not None and made:
                note = notes.due() if end is None else notes.last()
            if note is not None:
                made[-1]["p2pinfer"] = note
            if made:
                yield b"".join(map(named_event, made))
