"""What tests of files and of batches share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from openai._models import BaseModel

from p2pinfer.gateway.access.keys import Key, new_key
from p2pinfer.gateway.storage import Storage


@contextmanager
def storing(folder: Path, *, most_bytes: int = 10**9, has_owners: bool = False) -> Iterator[Storage]:
    """A store in a folder."""
    storage = Storage.open(folder, most_bytes=most_bytes, has_owners=has_owners)
    try:
        yield storage
    finally:
        storage.close()


def two_keys() -> tuple[Mapping[str, Key], dict[str, str], dict[str, str]]:
    """The keys of a file, and the headers of two clients."""
    made = [new_key(name, created="2026-01-01", limits={}) for name in ("anna", "ben")]
    headers = [{"authorization": f"Bearer {text}"} for text, _ in made]
    return {key.id: key for _, key in made}, headers[0], headers[1]


async def send_file(
    client: httpx.AsyncClient, content: bytes = b'{"a": 1}\n', name: str = "in.jsonl", **fields: Any
) -> httpx.Response:
    """Send a file; `fields` go with it."""
    headers = fields.pop("headers", None)
    data = {"purpose": "batch", **fields}
    return await client.post("/v1/files", files={"file": (name, content)}, data=data, headers=headers)


def strictly(kind: type[BaseModel], content: Any) -> None:
    """Check that an answer has the fields of the client's type, each of its type, and no others."""
    assert set(content) == set(kind.model_fields), set(content) ^ set(kind.model_fields)
    kind.model_validate(content, strict=True)


def line(number: int, url: str = "/v1/chat/completions", **fields: Any) -> dict[str, Any]:
    """A line of a batch."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": f"Number {number}"}]}
    return {"custom_id": f"n-{number}", "method": "POST", "url": url, "body": body, **fields}


def jsonl(lines: Iterable[dict[str, Any]]) -> bytes:
    """Lines as a file."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


async def make_batch(client: httpx.AsyncClient, content: bytes | int = 3, **fields: Any) -> dict[str, Any]:
    """Send a file, or one of so many lines, and have it answered."""
    headers = fields.pop("headers", None)
    if isinstance(content, int):
        content = jsonl(map(line, range(content)))
    sent = (await send_file(client, content, headers=headers)).json()
    body = {
        "input_file_id": sent["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        **fields,
    }
    answer = await client.post("/v1/batches", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def until_state(
    client: httpx.AsyncClient, batch_id: str, *states: str, completed: int = 0, **headers: str
) -> dict[str, Any]:
    """The batch, when it has come into one of these states, with so many requests completed at least."""
    async with asyncio.timeout(60):
        while True:
            batch: dict[str, Any] = (await client.get(f"/v1/batches/{batch_id}", headers=headers)).json()
            if batch["status"] in states and batch["request_counts"]["completed"] >= completed:
                return batch
            await asyncio.sleep(0.02)


async def results(client: httpx.AsyncClient, file_id: str, **headers: str) -> list[dict[str, Any]]:
    """The lines of a file that a batch made."""
    answer = await client.get(f"/v1/files/{file_id}/content", headers=headers)
    assert answer.status_code == 200
    return [json.loads(one) for one in answer.text.splitlines()]
