"""How answers reach the client: as a whole or as a stream, and not at all if it leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response

from p2pinfer.gateway.answering.server_sent import EventStream, Streams
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.tasks import cancel_and_wait

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

STOPPING = ApiError(
    503,
    "The gateway stops. Send the request again.",
    kind="server_error",
    code="stopping",
    retry_after_seconds=5,
)


async def unless_gone(request: Request, streams: Streams, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, which is cancelled as soon as the client leaves or the gateway stops.

    Raises ApiError then; nobody reads the answer of a client that has left.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_until_disconnect(request))
    stopping = asyncio.create_task(streams.wait_end())
    try:
        await asyncio.wait({working, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise STOPPING
        return working.result()
    finally:
        await cancel_and_wait(working, leaving, stopping)


async def streamed(
    request: Request,
    streams: Streams,
    events: AsyncGenerator[bytes, None],
    *,
    headers: Callable[[], dict[str, str]],
    last_words: Callable[[ApiError], bytes],
) -> Response:
    """Send events. What fails before the first one is an answer with a status of its own.

    `headers` are asked for when the first event is there; `last_words` makes an event of an error.
    """
    try:
        first = await unless_gone(request, streams, _first_of(events))
    except BaseException:
        await events.aclose()
        raise
    return EventStream(
        first, events, streams=streams, last_words=lambda: last_words(STOPPING), headers=headers()
    )


async def _first_of(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)


async def _until_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
