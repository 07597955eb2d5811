"""A gateway that says what a test tells it to say, by the same API, for the chat page.

The page's own tests need answers that break off, wait and lose servers at a given word. The real gateway and
a real swarm are in tests/end_to_end.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from p2pinfer.gateway.page.routes import page_router
from p2pinfer.http.security import SecurityHeaders

PEERS = [
    "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
    "12D3KooWHhCFmPzUTRdKRBZ8PDcZvLpTdqXeoQrN1mQk9wUgQ9xk",
    "12D3KooWQ1vcMBs5Nf3aZk7Yp9Xr2TtGh8LqVw4JcEuD6sPb7bTd",
    "12D3KooWLn2eYtXb8kPqRw3VzGm5HdCf7JsAu9Q4TiNoKe1Mx3Wf",
    "12D3KooWSpare1bNcVx5tYkQwZ2Lm8RgHd4Fs7JuPe9AiToKnQ2rG",
    "12D3KooWSpare2mKjH8gFdSa3QwErTy6UiOpZx4CvBnM7LkJhY5vE",
]
SPANS = [(0, 10), (10, 20), (20, 30)]


@dataclass
class Script:
    """What the stand-in says next."""

    words: list[str] = field(default_factory=lambda: ["One", " two", " three", "."])
    pause_seconds: float = 0.0
    status: int = 200
    retry_after: str | None = None
    message: str = "no"
    key: str | None = None
    break_after: int | None = None  # words; the connection is cut
    error_after: int | None = None  # words; an error event
    finish: str = "stop"
    models: list[str] = field(default_factory=lambda: ["SmolLM2-135M-Instruct"])
    is_demo: bool = False
    hold: threading.Event | None = None  # the answer waits for it after `hold_after` words
    hold_after: int = 0
    raw: list[bytes] | None = None  # these bytes, in the place of a stream


class StandIn:
    """One running stand-in."""

    def __init__(self) -> None:
        self.script = Script()
        self.asked: list[dict[str, Any]] = []
        self.dead: set[str] = set()
        self.left: list[dict[str, Any]] = []
        self.aborted = 0
        self.was_aborted = threading.Event()
        self.url = ""

    def hops(self) -> list[dict[str, Any]]:
        """The route now: the first living server of each span."""
        found = []
        for index, (first, end) in enumerate(SPANS):
            alive = [peer for peer in (PEERS[index], PEERS[index + 3]) if peer not in self.dead]
            peer = alive[0] if alive else PEERS[index]
            found.append({"peer": peer, "first_layer": first, "end_layer": end, "ms_per_token": 5.25 + index})
        return found

    def kill(self, peer: str) -> None:
        """As the demonstration's button does."""
        index = PEERS.index(peer)
        before = [hop["peer"] for hop in self.hops()]
        self.dead.add(peer)
        if peer in before:
            taken = PEERS[(index + 3) % 6]
            self.left.append({"left": [peer], "joined": [taken], "seconds": 0.31, "after_tokens": 7})

    def route(self, tokens: int) -> dict[str, Any]:
        """The extension field of a chunk."""
        return {
            "hops": self.hops(),
            "events": list(self.left),
            "tokens_per_second": None if tokens == 0 else 17.94,
            "cached_tokens": 12,
        }

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        """The chunks of an answer."""
        script = self.script
        if script.raw is not None:
            for part in script.raw:
                yield part
            return

        def chunk(delta: dict[str, Any], finish: str | None = None, **more: object) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            said = {"object": "chat.completion.chunk", "id": "chatcmpl-1", "choices": [choice], **more}
            return f"data: {json.dumps(said)}\n\n".encode()

        try:
            yield chunk({"role": "assistant", "content": ""}, p2pinfer=self.route(0))
            events = len(self.left)
            for number, word in enumerate(script.words):
                if script.error_after == number:
                    yield f"data: {json.dumps({'error': {'message': script.message}})}\n\n".encode()
                    return
                if script.break_after == number:
                    raise ConnectionResetError
                while script.hold and number == script.hold_after and not script.hold.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                more = {}
                if len(self.left) != events:
                    events = len(self.left)
                    more = {"p2pinfer": self.route(number)}
                yield chunk({"content": word}, **more)
                if script.pause_seconds:
                    await asyncio.sleep(script.pause_seconds)
            tokens = len(script.words)
            yield chunk({}, script.finish, p2pinfer=self.route(tokens))
            usage = {
                "prompt_tokens": 40,
                "completion_tokens": tokens,
                "total_tokens": 40 + tokens,
                "prompt_tokens_details": {"cached_tokens": 12},
            }
            yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode()
            yield b"data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            self.was_aborted.set()
            raise


def standin_app(standin: StandIn) -> FastAPI:
    """Its addresses: the page, the API, the demonstration."""
    app = FastAPI()
    app.add_middleware(SecurityHeaders)
    app.include_router(page_router())

    def refusal(request: Request) -> Response | None:
        script = standin.script
        if script.key is not None and request.headers.get("authorization") != f"Bearer {script.key}":
            return JSONResponse({"error": {"message": "The key is missing or wrong."}}, 401)
        return None

    @app.get("/v1/models", response_model=None)
    async def models(request: Request) -> Response:
        data = [{"id": name, "object": "model"} for name in standin.script.models]
        return refusal(request) or JSONResponse({"object": "list", "data": data})

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(request: Request) -> Response:
        if refused := refusal(request):
            return refused
        standin.asked.append(await request.json())
        script = standin.script
        if script.status != 200:
            headers = {"retry-after": script.retry_after} if script.retry_after else {}
            return JSONResponse({"error": {"message": script.message}}, script.status, headers)
        return StreamingResponse(standin.stream(request), media_type="text/event-stream")

    @app.get("/demo/servers", response_model=None)
    async def servers() -> Response:
        if not standin.script.is_demo:
            return JSONResponse({"error": {"message": "Not found."}}, 404)
        found = [
            {"peer": peer, "first_layer": first, "end_layer": end, "alive": peer not in standin.dead}
            for peer, (first, end) in zip(PEERS, SPANS * 2, strict=True)
        ]
        return JSONResponse(found)

    @app.post("/demo/kill", response_model=None)
    async def kill(request: Request) -> Response:
        if request.headers.get("x-p2pinfer-demo") != "1":
            return JSONResponse({}, 403)
        standin.kill((await request.json())["peer"])
        return JSONResponse({})

    @app.post("/demo/start", response_model=None)
    async def start(request: Request) -> Response:
        standin.dead.discard((await request.json())["peer"])
        return JSONResponse({})

    return app


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """Serve a stand-in on a port of its own until the block ends."""
    standin = StandIn()
    started = threading.Event()

    class Announced(uvicorn.Server):
        async def startup(self, sockets=None) -> None:  # type: ignore[no-untyped-def]
            await super().startup(sockets)
            started.set()

    config = uvicorn.Config(
        standin_app(standin), host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1
    )
    server = Announced(config)
    stop: Callable[[], None] = lambda: setattr(server, "should_exit", True)  # noqa: E731
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert started.wait(60.0)
    standin.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield standin
    finally:
        stop()
        thread.join(60.0)
