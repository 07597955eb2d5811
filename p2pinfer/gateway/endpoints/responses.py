"""`POST /v1/responses`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from p2pinfer.client.texts.request import TextEnd
from p2pinfer.gateway.answering.route_notes import RouteNotes
from p2pinfer.gateway.answering.server_sent import named_event
from p2pinfer.gateway.endpoints.routes import STREAM_OR_ERRORS, KeyedRoute, gateway_of
from p2pinfer.gateway.endpoints.running import streamed_answer, whole_answer
from p2pinfer.gateway.gateway import Run
from p2pinfer.openai_api.answering.response_answer import ResponseAnswer
from p2pinfer.openai_api.shapes.responses import ResponseRequest
from p2pinfer.openai_api.whole_answers import response_answer, whole_work
from p2pinfer.openai_api.work.asks import work_of_response
from p2pinfer.openai_api.work.work import Work


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
        model, most_tokens = gateway.models.find(body.model), gateway.settings.most_tokens
        if not body.stream:
            todo = await whole_work(model, body, most_tokens)
            return await whole_answer(request, todo, with_route=body.p2pinfer.route)
        work = await work_of_response(model, body, most_tokens)
        return await _stream(request, body, work, response_answer(model, body, work))

    return router


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
