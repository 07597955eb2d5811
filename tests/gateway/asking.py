"""Requests to an application without a network, and the answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from p2pinfer.gateway.app import create_app
from p2pinfer.gateway.settings import Settings
from p2pinfer.gateway.storage import Storage
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.tasks import Nursery
from tests.gateway.stand_in import StandInModel, serve

HELLO = [{"role": "user", "content": "Hi!"}]


@asynccontextmanager
async def asking(
    *models: StandInModel, storage: Storage | None = None, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with these models; the first is called tiny, the next tiny-1."""
    served = [
        serve(model, model_id=f"tiny-{place}" if place else "tiny") for place, model in enumerate(models)
    ]
    app = create_app(Models(served), replace(Settings(), **settings), storage=storage)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with Nursery() as nursery:
        if storage is not None:
            nursery.start(app.state.gateway.batches.run_forever())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            yield client


async def chat(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    """Send a chat completion."""
    return await client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, **fields})


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, which ends with [DONE]."""
    events = [line for line in answer.text.split("\n\n") if line]
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error in OpenAI's form, and nothing else."""
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str) and body["error"]["message"]
    found: dict[str, Any] = body["error"]
    return found
