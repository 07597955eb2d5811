"""What happens to one batch, step by step. Whoever calls this has claimed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2pinfer.documents.answering.asking import Asker
from p2pinfer.documents.answering.line_answers import LineAnswers
from p2pinfer.documents.files.file_store import FileGoneError
from p2pinfer.documents.jobs.claims import Claim
from p2pinfer.documents.jobs.job import Job, JobState, Spent
from p2pinfer.documents.running.runner import run_job
from p2pinfer.gateway.access.visitors import cache_scope_of
from p2pinfer.gateway.batches.allowances import AllowedRoom
from p2pinfer.gateway.batches.answers import CheckedLines, CountedAnswers
from p2pinfer.gateway.batches.checking import documents_of, problems_of
from p2pinfer.gateway.batches.results import ResultFiles
from p2pinfer.gateway.batches.slow_work import Pacing, slowly, stopping_first
from p2pinfer.gateway.storage import Storage
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.openai_api.work.room import Room

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
        await tools.storage.run(tools.storage.jobs.fail, job.id, problems)
    return not problems


async def run_batch(tools: BatchTools, job: Job, claim: Claim) -> Job:
    """Bring a batch to its end, from wherever it is; returns it as it is then. Its input was checked.

    Raises HeldUpError, ApiError, JobError, DatabaseError and OSError: it can then be run again, and nothing
    is lost.
    """
    jobs = tools.storage.jobs
    if job.state is JobState.VALIDATING:
        try:
            await slowly(partial(_add_documents, tools.storage, job))
        except FileGoneError:
            return await tools.storage.run(jobs.fail, job.id, [_GONE])
        served = tools.models.get(model_name(job))
        await tools.storage.run(jobs.begin, job.id, layers=0 if served is None else served.text.num_layers)
    pacing = Pacing()
    running = run_job(
        jobs,
        job.id,
        CountedAnswers(
            lines=LineAnswers(Asker(tools.models, tools.most_tokens, cache_scope=cache_scope_of(job.owner))),
            model=model_name(job),
            count=partial(tools.count, job.owner),
        ),
        room=AllowedRoom(
            partial(_room_of, tools.models, model_name(job)), partial(tools.may_go_on, job.owner)
        ),
        files=ResultFiles(tools.storage, job.id, pacing),
        claim=claim,
        now=lambda: jobs.tables.now(),
    )
    ended = await stopping_first(pacing, running)
    await tools.storage.run(jobs.forget_documents, job.id)
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


def _room_of(models: Models, name: str) -> Room | None:
    served = models.get(name)
    return None if served is None else served.text.background_room
