"""What tests of files and of batches share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
