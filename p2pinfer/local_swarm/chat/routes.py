"""The demonstration's addresses: its servers, and how the page kills and starts them.

Only the chat page itself may do that: a page of another site can send such requests, but neither with this
header nor from this origin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.http.answers import json_answer
from p2pinfer.http.request_body import BodyTooLargeError, body_parts
from p2pinfer.local_swarm.chat.demo import Demo
from p2pinfer.outside.plain_json import read_json

HEADER = "x-p2pinfer-demo"

_MOST_BODY_BYTES = 1_000


def demo_router(demo: Demo) -> APIRouter:
    """The addresses. They aren't in the API's document."""
    router = APIRouter(prefix="/demo", include_in_schema=False)

    @router.get("/servers", response_model=None)
    async def servers() -> Response:
        found = await asyncio.to_thread(demo.servers)
        return json_answer(
            [
                {
                    "peer": server.peer_id,
                    "first_layer": server.layers.start,
                    "end_layer": server.layers.end,
                    "alive": server.is_alive,
                }
                for server in found
            ]
        )

    @router.post("/kill", response_model=None)
    async def kill(request: Request) -> Response:
        return await _act(request, demo.kill)

    @router.post("/start", response_model=None)
    async def start(request: Request) -> Response:
        return await _act(request, demo.start)

    return router


async def _act(request: Request, action: Callable[[str], None]) -> Response:
    if not _is_the_page(request):
        return _problem(403, "Only the demonstration's own page may do this.")
    try:
        await asyncio.to_thread(action, await _peer(request))
    except UsageError as error:
        return _problem(400, str(error))
    except SwarmError as error:
        return _problem(503, str(error))
    return json_answer({})


def _is_the_page(request: Request) -> bool:
    origin = request.headers.get("origin")
    return (
        request.headers.get(HEADER) == "1"
        and origin is not None
        and urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    )


async def _peer(request: Request) -> str:
    """The peer that the body names. Raises UsageError."""
    try:
        body = b"".join([part async for part in body_parts(request, _MOST_BODY_BYTES, "too long")])
        peer = read_json(body)["peer"]
    except (BodyTooLargeError, ValueError, KeyError, TypeError) as error:
        raise UsageError('the body is {"peer": "..."}') from error
    if not isinstance(peer, str):
        raise UsageError('the body is {"peer": "..."}')
    return peer


def _problem(status: int, message: str) -> Response:
    return json_answer({"error": {"message": message}}, status=status)
