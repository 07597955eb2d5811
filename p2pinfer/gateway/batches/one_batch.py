"""What happens to one batch, step by step. Whoever calls this has claimed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2pinfer.documents.answering.asking import Asker
from p2pinfer.documents.answering.line_answers import LineAnswers
from p2pinfer.documents.files.file_store import FileGoneError
from p2pinfer.documents.jobs.job import Job, JobState, Spent
from p2pinfer.documents.running.runner import run_job
from p2pinfer.gateway.batches.allowances import AllowedRoom
from p2pinfer.gateway.batches.answers import CheckedLines, CountedAnswers
from p2pinfer.gateway.batches.checking import documents_of, problems_of
from p2pinfer.gateway.batches.results import write_results
from p2pinfer.gateway.batches.slow_work import Pacing, slowly
from p2pinfer.gateway.storage import Storage, stored
from p2pinfer.openai_api.shapes.files import MOST_EXPIRY_SECONDS
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.openai_api.work.served_model import Room

_CANCELLED = "The batch was cancelled before this request was answered."

_GONE: dict[str, Any] = {
    "code": "file_not_found",
    "message": "The input file isn't there any more: it was deleted, or its time was over.",
    "param": "input_file_id",
    "line": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTools:
    """What batches need of their gateway."""

    storage: Storage
    models: Models
    most_tokens: int | None
    """Of an answer whose request says nothing."""
    may_go_on: Callable[[str], bool]
    """Whether an owner's batches may have answers now."""
    count: Callable[[str, str, Spent], None]
    """Is told an owner, a model, and what an answer took."""


async def check_input(tools: BatchTools, job: Job) -> bool:
    """Look at all lines of a batch that is VALIDATING. If something is wrong with one, it has FAILED.

    Raises ApiError if the store can't be used, and JobError if the batch was cancelled meanwhile.
    """
    problems = await slowly(partial(_problems, tools, job))
    if problems:
        await stored(tools.storage.jobs.fail, job.id, problems)
    return not problems


async def run_batch(tools: BatchTools, job: Job) -> None:
    """Answer the documents of a batch whose input was checked. Raises ApiError and JobError."""
    jobs = tools.storage.jobs
    if job.state is JobState.VALIDATING:
        try:
            await slowly(partial(_add_documents, tools.storage, job))
        except FileGoneError:
            await stored(jobs.fail, job.id, [_GONE])
            return
        served = tools.models.get(model_name(job))
        await stored(jobs.begin, job.id, layers=0 if served is None else served.text.num_layers)
    answers = CountedAnswers(
        lines=LineAnswers(Asker(tools.models, tools.most_tokens)),
        model=model_name(job),
        count=partial(tools.count, job.owner),
    )
    room = AllowedRoom(partial(_room_of, tools.models, model_name(job)), partial(tools.may_go_on, job.owner))
    await run_job(jobs, job.id, answers, room=room)


async def finish_batch(tools: BatchTools, job: Job) -> Job:
    """Write the results of a batch that is FINALIZING or CANCELLING, and end it; returns how it ended.

    After a kill in the middle it is done again, with the same files. Raises ApiError and JobError.
    """
    jobs = tools.storage.jobs
    if job.state is JobState.CANCELLING:
        await stored(jobs.give_up, job.id, code="batch_cancelled", message=_CANCELLED)
        end = JobState.CANCELLED
    else:
        has_expired = await stored(jobs.has_given_up, job.id)
        end = JobState.EXPIRED if has_expired else JobState.COMPLETED
    await slowly(partial(_write_results, tools.storage, job))
    ended = await stored(jobs.set_state, job.id, end)
    await stored(jobs.forget_documents, job.id)
    return ended


def model_name(job: Job) -> str:
    """The model of a batch; empty if its first line names none."""
    return str(job.settings.get("model") or "")


def _problems(tools: BatchTools, job: Job, pacing: Pacing) -> list[dict[str, Any]]:
    try:
        with tools.storage.files.content(job.input_file or "") as file:
            return problems_of(file, url=job.url, check=CheckedLines(tools.models), pacing=pacing)
    except FileGoneError:
        return [_GONE]


def _add_documents(storage: Storage, job: Job, pacing: Pacing) -> None:
    """Put the documents into the store; those that were there before a kill are the first ones."""
    with storage.files.content(job.input_file or "") as file:
        storage.jobs.add_documents(job.id, pacing(documents_of(file, after=job.counts.total)))


def _write_results(storage: Storage, job: Job, pacing: Pacing) -> None:
    lasts_seconds = float(job.settings.get("output_seconds", MOST_EXPIRY_SECONDS))
    write_results(storage, job, lasts_seconds=lasts_seconds, pacing=pacing)


def _room_of(models: Models, name: str) -> Room | None:
    served = models.get(name)
    return None if served is None else served.text.background_room
