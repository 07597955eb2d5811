"""`POST /v1/responses`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from p2pinfer.client.texts.request import TextEnd
from p2pinfer.gateway.answering.choices import Choices
from p2pinfer.gateway.answering.heading import Heading
from p2pinfer.gateway.answering.response_answer import ResponseAnswer
from p2pinfer.gateway.answering.route_notes import RouteNotes, route_headers
from p2pinfer.gateway.answering.server_sent import named_event
from p2pinfer.gateway.endpoints.delivering import streamed, unless_gone
from p2pinfer.gateway.endpoints.routes import STREAM_OR_ERRORS, KeyedRoute, gateway_of, key_of
from p2pinfer.gateway.problems.errors import as_api_error
from p2pinfer.gateway.serving.asks import work_of_response
from p2pinfer.gateway.serving.work import Work
from p2pinfer.gateway.shapes.responses import ResponseRequest
from p2pinfer.http.answers import json_answer

_ENDPOINT = "/responses"


def responses_router() -> APIRouter:
    """The address."""
    router = APIRouter(route_class=KeyedRoute)

    @router.post(
        _ENDPOINT,
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
    gateway = gateway_of(request)

    async def collect() -> Response:
        async with gateway.running(_ENDPOINT, key_of(request), work) as run:
            end: TextEnd | None = None
            async with aclosing(run.pieces()) as pieces:
                async for piece in pieces:
                    answer.take(piece)
                    end = piece.content if isinstance(piece.content, TextEnd) else None
            assert end is not None, "a text ended without an end"
            whole = answer.answer(end, run.usage())
            if body.p2pinfer.route:
                whole["p2pinfer"] = RouteNotes(run.choices).last()
            return json_answer(whole, headers=route_headers(run.choices, has_ended=True))

    return await unless_gone(request, gateway.streams, collect())


async def _stream(request: Request, body: ResponseRequest, work: Work, answer: ResponseAnswer) -> Response:
    gateway = gateway_of(request)
    begun: list[Choices] = []

    async def events() -> AsyncGenerator[bytes, None]:
        is_first = True
        try:
            async with gateway.running(_ENDPOINT, key_of(request), work) as run:
                begun.append(run.choices)
                notes = RouteNotes(run.choices) if body.p2pinfer.route else None
                async with aclosing(run.pieces()) as pieces:
                    async for piece in pieces:
                        made = answer.begin() if is_first else []
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
                            is_first = False
        except Exception as error:
            if is_first:
                raise
            yield named_event(answer.failed(as_api_error(error)))

    return await streamed(
        request,
        gateway.streams,
        events(),
        headers=lambda: route_headers(begun[0], has_ended=False),
        last_words=lambda error: named_event(answer.failed(error)),
    )
