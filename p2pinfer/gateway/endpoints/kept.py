"""What the addresses of files and of batches share: where they are kept, lists in pages, how a file reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request, Response

from p2pinfer.documents.files.stored_file import StoredFile
from p2pinfer.gateway.access.visitors import owner_of
from p2pinfer.gateway.batches.batches import Batches
from p2pinfer.gateway.endpoints.routes import gateway_of, key_of
from p2pinfer.gateway.storage import Storage
from p2pinfer.http.answers import json_answer
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.shapes.base import Shape
from p2pinfer.openai_api.validation import validated
from p2pinfer.plain_text import printable

_S = TypeVar("_S", bound=Shape)


def batches_of(request: Request) -> Batches:
    """The gateway's batches. Raises ApiError if it has none."""
    batches = gateway_of(request).batches
    if batches is None:
        raise ApiError(404, "This gateway keeps no files and no batches.", code="batches_off")
    return batches


def storage_of(request: Request) -> Storage:
    """Where files and batches are. Raises ApiError if this gateway keeps none."""
    return batches_of(request).storage


def query_of(request: Request, shape: type[_S]) -> _S:
    """What an address asks for behind its `?`. Raises ApiError for what isn't known."""
    return validated(shape, dict(request.query_params))


def page(entries: Sequence[dict[str, Any]], limit: int) -> Response:
    """A page of a list, of which one entry more was read than the page has."""
    shown = entries[:limit]
    return json_answer(
        {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(entries) > limit,
        }
    )


async def file_of(request: Request, file_id: str, *, param: str | None = None) -> StoredFile:
    """The file of this id. Raises ApiError with status 404 if it isn't there, or is somebody else's."""
    storage = storage_of(request)
    found = await storage.run(storage.files.file, file_id, owner=owner_of(key_of(request)))
    if found is None:
        raise no_file(file_id, param=param)
    return found


def no_file(file_id: str, *, param: str | None = None) -> ApiError:
    """There is no such file, as far as this client may know."""
    return ApiError(404, f"There is no file '{printable(file_id, 80)}'.", param=param, code="file_not_found")


def file_entry(file: StoredFile) -> dict[str, Any]:
    """A file in OpenAI's form."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.name,
        "purpose": str(file.purpose),
        "status": "processed",
        "status_details": None,
    }
