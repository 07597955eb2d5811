"""Runs the work of a request and answers it, whole or in a stream, whatever its endpoint's form."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fastapi import Request, Response

from p2pinfer.gateway.answering.route_notes import RouteNotes, route_headers
from p2pinfer.gateway.endpoints.delivering import streamed, unless_gone
from p2pinfer.gateway.endpoints.routes import gateway_of, key_of
from p2pinfer.gateway.gateway import Run
from p2pinfer.http.answers import json_answer
from p2pinfer.openai_api.answering.choices import Choices
from p2pinfer.openai_api.errors import ApiError, as_api_error
from p2pinfer.openai_api.whole_answers import WholeWork
from p2pinfer.openai_api.work.work import Work


async def whole_answer(request: Request, todo: WholeWork, *, with_route: bool) -> Response:
    """The answer as a whole, with the route in it if asked for."""
    gateway = gateway_of(request)

    async def collect() -> Response:
        async with gateway.running(_endpoint(request), key_of(request), todo.work) as run:
            async with aclosing(run.pieces()) as pieces:
                async for piece in pieces:
                    todo.whole.add(piece)
            answer = todo.whole.answer(run.usage())
            if with_route:
                answer["p2pinfer"] = RouteNotes(run.choices).last()
            return json_answer(answer, headers=route_headers(run.choices, has_ended=True))

    return await unless_gone(request, gateway.streams, collect())


async def streamed_answer(
    request: Request,
    work: Work,
    events_of: Callable[[Run], AsyncGenerator[bytes, None]],
    *,
    failed: Callable[[ApiError], bytes],
) -> Response:
    """The events of the run. `failed` makes one of what goes wrong once the stream has begun."""
    gateway = gateway_of(request)
    begun: list[Choices] = []

    async def events() -> AsyncGenerator[bytes, None]:
        is_first = True
        try:
            async with gateway.running(_endpoint(request), key_of(request), work) as run:
                begun.append(run.choices)
                async with aclosing(events_of(run)) as made:
                    async for event in made:
                        yield event
                        is_first = False
        except Exception as error:  # the status is sent: all that is left is an event, whatever went wrong
            if is_first:
                raise
            yield failed(as_api_error(error))

    return await streamed(
        request,
        gateway.streams,
        events(),
        headers=lambda: route_headers(begun[0], has_ended=False),
        last_words=failed,
    )


def _endpoint(request: Request) -> str:
    path: str = request.scope["path"]
    return path.removeprefix("/v1")
