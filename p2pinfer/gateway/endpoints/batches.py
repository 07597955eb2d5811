"""`/v1/batches`: files of requests that are answered within a day, when nobody waits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from p2pinfer.documents.files.file_store import FileGoneError
from p2pinfer.documents.files.stored_file import Purpose, StoredFile
from p2pinfer.documents.jobs.job import Job
from p2pinfer.documents.jobs.queue import count_unfinished
from p2pinfer.errors import JobError
from p2pinfer.gateway.access.visitors import owner_of
from p2pinfer.gateway.batches.checking import model_of
from p2pinfer.gateway.batches.forms import WINDOW_SECONDS, batch_entry
from p2pinfer.gateway.endpoints.kept import batches_of, file_of, page, query_of, storage_of
from p2pinfer.gateway.endpoints.routes import ERRORS, BodilessRoute, KeyedRoute, key_of
from p2pinfer.gateway.storage import Storage
from p2pinfer.http.answers import json_answer
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.shapes.batches import BatchRequest
from p2pinfer.openai_api.shapes.files import MOST_EXPIRY_SECONDS, BatchQuery
from p2pinfer.plain_text import printable

MOST_BATCHES = 4_000
MOST_BATCHES_OF_OWNER = 1_000
"""That aren't over. Their documents come into the store one batch after the other."""
_RETRY_SECONDS = 60.0


class BatchEntry(BaseModel):
    """One batch. Times are Unix seconds, null for what hasn't been."""

    id: str
    object: str
    endpoint: str
    model: str | None
    """Of the input's first line."""
    status: str
    """validating, failed, in_progress, finalizing, completed, expired, cancelling or cancelled."""
    errors: dict[str, Any] | None
    """Why it failed: a list of code, message, param and line."""
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    completion_window: str
    created_at: int
    expires_at: int | None
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: dict[str, int]
    """total, completed and failed."""
    usage: dict[str, Any] | None
    metadata: dict[str, str] | None


def batches_router() -> APIRouter:
    """The addresses."""
    router = APIRouter(route_class=KeyedRoute)
    bodiless = APIRouter(route_class=BodilessRoute)

    @router.post("/batches", response_model=BatchEntry, responses=ERRORS)
    async def create(request: Request, body: BatchRequest) -> Response:
        """Have the requests of a file answered."""
        storage, owner = storage_of(request), owner_of(key_of(request))
        file = await file_of(request, body.input_file_id, param="input_file_id")
        if file.purpose is not Purpose.BATCH:
            raise ApiError(
                400,
                f"The file's purpose is '{file.purpose}': send one with the purpose 'batch'.",
                param="input_file_id",
                code="invalid_value",
            )
        job = await storage.run(_created, storage, owner, body, file)
        batches_of(request).made(job.id)
        return json_answer(batch_entry(job))

    @router.get("/batches", response_model=None, responses=ERRORS)
    async def batches(request: Request) -> Response:
        """Your batches, the newest first."""
        storage, owner = storage_of(request), owner_of(key_of(request))
        query = query_of(request, BatchQuery)
        if query.after is not None:
            await _job_of(request, query.after, param="after")
        found = await storage.run(storage.jobs.jobs, owner=owner, limit=query.limit + 1, after=query.after)
        return page([batch_entry(job) for job in found], query.limit)

    @router.get("/batches/{batch_id}", response_model=BatchEntry, responses=ERRORS)
    async def batch(request: Request, batch_id: str) -> Response:
        """One of them."""
        return json_answer(batch_entry(await _job_of(request, batch_id)))

    @bodiless.post("/batches/{batch_id}/cancel", response_model=BatchEntry, responses=ERRORS)
    async def cancel(request: Request, batch_id: str) -> Response:
        """End it. What is answered by then is kept."""
        storage, job = storage_of(request), await _job_of(request, batch_id)
        try:
            job = await storage.run(storage.jobs.cancel, job.id)
        except JobError as error:
            job = await _job_of(request, batch_id)
            raise ApiError(
                400, f"The batch is {job.state}: it can't be cancelled.", code="invalid_state"
            ) from error
        batches_of(request).wake()
        return json_answer(batch_entry(job))

    router.include_router(bodiless)
    return router


def _created(storage: Storage, owner: str, body: BatchRequest, file: StoredFile) -> Job:
    """Make the batch, in a thread. Raises ApiError if there are too many."""
    tables = storage.jobs.tables
    if count_unfinished(tables, owner) >= MOST_BATCHES_OF_OWNER or count_unfinished(tables) >= MOST_BATCHES:
        raise ApiError(
            429,
            f"You may have {MOST_BATCHES_OF_OWNER:,} batches that aren't over, and all users together "
            f"{MOST_BATCHES:,}: wait until one is.",
            kind="rate_limit_error",
            code="too_many_batches",
            retry_after_seconds=_RETRY_SECONDS,
        )
    try:
        with storage.files.content(file.id) as content:
            model = model_of(content)
    except FileGoneError as error:
        raise ApiError(404, f"{error}.", param="input_file_id", code="file_not_found") from error
    after = body.output_expires_after
    return storage.jobs.create(
        owner=owner,
        url=body.endpoint,
        expires_at=tables.now() + WINDOW_SECONDS,
        metadata=body.metadata,
        settings={"model": model, "output_seconds": after.seconds if after else MOST_EXPIRY_SECONDS},
        input_file=file.id,
    )


async def _job_of(request: Request, batch_id: str, *, param: str | None = None) -> Job:
    """The batch of this id. Raises ApiError if it isn't there, or is somebody else's."""
    storage = storage_of(request)
    job = await storage.run(storage.jobs.job, batch_id)
    if job is None or job.owner != owner_of(key_of(request)):
        status = 404 if param is None else 400
        message = f"There is no batch '{printable(batch_id, 80)}'."
        raise ApiError(status, message, param=param, code="batch_not_found")
    return job
