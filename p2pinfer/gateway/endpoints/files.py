"""`/v1/files`: what clients send for batches, and what batches have made."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from p2pinfer.documents.files.file_store import FileGoneError
from p2pinfer.documents.files.stored_file import Purpose
from p2pinfer.documents.jobs.queue import is_needed
from p2pinfer.gateway.access.visitors import owner_of
from p2pinfer.gateway.endpoints.delivering import STOPPING
from p2pinfer.gateway.endpoints.kept import file_entry, file_of, no_file, page, query_of, storage_of
from p2pinfer.gateway.endpoints.routes import ERRORS, KeyedRoute, UploadRoute, gateway_of, key_of
from p2pinfer.gateway.measure import CLIENT_LEFT
from p2pinfer.gateway.storage import Storage
from p2pinfer.gateway.uploads.form import FORM, nested
from p2pinfer.gateway.uploads.uploads import MOST_FORM_BYTES, too_large
from p2pinfer.http.answers import json_answer
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.shapes.files import MOST_EXPIRY_SECONDS, FileFields, FileQuery
from p2pinfer.openai_api.validation import validated
from p2pinfer.plain_text import printable
from p2pinfer.tasks import unless

_PIECE_BYTES = 256 << 10

_FORM_FIELDS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": [Purpose.BATCH]},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer"},
                    },
                }
            }
        },
    }
}


class FileEntry(BaseModel):
    """One file."""

    id: str
    object: str
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    """As its sender calls it."""
    purpose: str
    status: str
    """Always `processed`: a file can be used at once."""
    status_details: str | None
    """Always null."""


def files_router() -> APIRouter:
    """The addresses."""
    router = APIRouter(route_class=KeyedRoute)
    uploads = APIRouter(route_class=UploadRoute)

    @uploads.post("/files", response_model=FileEntry, responses=ERRORS, openapi_extra=_FORM_FIELDS)
    async def create(request: Request) -> Response:
        """Send a file, as multipart/form-data. It goes to the disk as it comes."""
        streams = gateway_of(request).streams
        try:
            return await unless(streams.wait_end(), _received(request), STOPPING)
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)  # which nobody reads

    @router.get("/files", response_model=None, responses=ERRORS)
    async def files(request: Request) -> Response:
        """Your files, the newest first."""
        query = query_of(request, FileQuery)
        try:
            found = await storage_of(request).run(
                storage_of(request).files.files,
                owner=owner_of(key_of(request)),
                limit=query.limit + 1,
                after=query.after,
                newest_first=query.order == "desc",
                purpose=query.purpose,
            )
        except FileGoneError as error:
            raise ApiError(400, str(error), param="after", code="invalid_value") from error
        return page([file_entry(file) for file in found], query.limit)

    @router.get("/files/{file_id}", response_model=FileEntry, responses=ERRORS)
    async def file(request: Request, file_id: str) -> Response:
        """One of them."""
        return json_answer(file_entry(await file_of(request, file_id)))

    @router.get("/files/{file_id}/content", response_model=None, responses=ERRORS)
    async def content(request: Request, file_id: str) -> Response:
        """What is in it."""
        storage, found = storage_of(request), await file_of(request, file_id)
        try:
            opened = await storage.run(storage.files.content, found.id)
        except FileGoneError as error:
            raise no_file(file_id) from error  # deleted since
        return StreamingResponse(
            _pieces(storage, opened),
            media_type="application/octet-stream",
            headers={
                "cache-control": "no-store",
                "content-disposition": f"attachment; filename*=utf-8''{quote(found.name)}",
                "content-length": str(os.fstat(opened.fileno()).st_size),
            },
        )

    @router.delete("/files/{file_id}", response_model=None, responses=ERRORS)
    async def delete(request: Request, file_id: str) -> Response:
        """Delete a file that no batch needs any more."""
        storage, found = storage_of(request), await file_of(request, file_id)
        if await storage.run(is_needed, storage.jobs.tables, found.id):
            raise ApiError(
                400, "A batch that isn't over needs this file: wait for it, or cancel it.", code="file_in_use"
            )
        await storage.run(storage.files.delete, found.id)
        return json_answer({"id": found.id, "object": "file", "deleted": True})

    router.include_router(uploads)
    return router


async def _received(request: Request) -> Response:
    gateway, storage = gateway_of(request), storage_of(request)
    owner = owner_of(key_of(request))
    uploads = gateway.uploads
    assert uploads is not None
    with uploads.admitted(owner):
        await uploads.check_room(owner, _declared_bytes(request))
        with await storage.run(storage.files.incoming) as incoming:
            upload = await uploads.receive(request.stream(), request.headers["content-type"], incoming)
            fields = _fields_of(upload.fields)
            file = await storage.run(
                storage.files.keep,
                incoming,
                owner=owner,
                purpose=Purpose(fields.purpose),
                name=upload.name,
                lasts_seconds=fields.expires_after.seconds if fields.expires_after else MOST_EXPIRY_SECONDS,
                limits=storage.limits,
            )
    return json_answer(file_entry(file))


async def _pieces(storage: Storage, opened: BinaryIO) -> AsyncGenerator[bytes, None]:
    """The bytes of an open file, which is closed at the end or when its reader leaves."""
    with opened:
        while piece := await storage.run(opened.read, _PIECE_BYTES):
            yield piece


def _declared_bytes(request: Request) -> int:
    """About the size of the file, as far as it is said. Raises ApiError if it is too large for any."""
    declared = request.headers.get("content-length", "")
    size_bytes = int(declared[:20]) if declared.isdecimal() else 0
    if size_bytes > MOST_FORM_BYTES:
        raise too_large()
    return size_bytes


def _fields_of(fields: dict[str, str]) -> FileFields:
    found = nested(fields)
    purpose = found.get("purpose")
    if isinstance(purpose, str) and purpose != Purpose.BATCH:
        raise ApiError(
            400,
            f"The purpose '{printable(purpose, 50)}' isn't supported: files are for batches here, with the "
            "purpose 'batch'.",
            param="purpose",
            code="unsupported_value",
        )
    return validated(FileFields, found)
