"""Runs the job of a command line: finds it again or begins it, and answers what waits."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

from p2pinfer.command_line.output import say
from p2pinfer.command_line.program import FAILED
from p2pinfer.command_line.stopping import until_signal
from p2pinfer.documents.answering.line_answers import LineAnswers
from p2pinfer.documents.answering.text_answers import TextAnswers
from p2pinfer.documents.jobs.claims import Claim
from p2pinfer.documents.jobs.job import Job, JobState
from p2pinfer.documents.jobs.job_store import JobStore
from p2pinfer.documents.program.config import RunConfig
from p2pinfer.documents.program.opening import OpenedModel, opened_model
from p2pinfer.documents.program.same_job import CONTENTS, differences, job_id_of
from p2pinfer.documents.program.source import Source, opened_source
from p2pinfer.documents.running.output_file import JobFiles
from p2pinfer.documents.running.runner import Answers, run_job, runner_name
from p2pinfer.documents.showing.progress_line import ProgressLine
from p2pinfer.documents.showing.summary import over_lines, run_lines
from p2pinfer.documents.showing.words import counts_in_words, short_job_id
from p2pinfer.errors import UsageError
from p2pinfer.plain_text import several
from p2pinfer.threads import in_thread

_SIGNALLED = 128
"""And the signal's number, as shells report it."""


def run_program(config: RunConfig, command: str) -> int:
    """Run the job until it is over, or a signal comes. `command` is what began it, for `status`.

    Returns 0 if every document has an answer, 1 if not, 128 and the signal's number after a signal. Raises
    UsageError, and P2PInferError for what keeps the job from going on.
    """
    statuses: list[int] = []
    with JobStore.open(config.store) as store:
        program = _Program(config, command, store)

        async def work() -> None:
            statuses.append(await program.run())

        number = asyncio.run(until_signal(work()))
        if number is None:
            return statuses[0]
        job = store.job(program.job_id)
        if job is not None and job.state is not JobState.VALIDATING:
            say(f"stopped: {counts_in_words(job.counts)}; the same command goes on")
        else:
            say("stopped before the job began")
    return _SIGNALLED + number


class _Program:
    """One run."""

    def __init__(self, config: RunConfig, command: str, store: JobStore) -> None:
        self._config = config
        self._command = command
        self._store = store
        self.job_id = job_id_of(config.output)

    async def run(self) -> int:
        """Run it. Returns the exit status."""
        with self._store.claim(self.job_id, runner_name()) as claim, ExitStack() as stack:
            # In a thread: a pipe may be silent for ever, and a signal ends the program all the same.
            source = await in_thread(partial(stack.enter_context, opened_source(self._config)))
            job = await in_thread(partial(self._found, source, claim))
            if job is not None and job.state.is_over:
                return await in_thread(partial(self._tell_over, job))
            async with opened_model(self._config) as opened:
                answers = await self._answers(opened)
                job = await in_thread(partial(self._ready, job, source, opened, claim))
                return await self._run(job, answers, opened, claim)

    def _found(self, source: Source, claim: Claim) -> Job | None:
        """The job, if there is one to go on with or to tell of. Raises UsageError if it is another one."""
        job = self._store.job(self.job_id)
        if job is not None and job.state in (JobState.VALIDATING, JobState.FAILED):
            self._store.delete(job.id, claim=claim)  # nothing of it was answered
            job = None
        if self._config.again:
            return None
        if job is None:
            self._refuse_to_overwrite()
            return None
        self._refuse_others(job, self._asked(source))
        return job

    def _refuse_to_overwrite(self) -> None:
        for flag, file in (("--out", self._config.output), ("--errors", self._config.errors)):
            if file.exists() and file.stat().st_size > 0:
                raise UsageError(
                    f"{flag} {file} is there already, and no job of {self._config.store} has written it: "
                    "give another name, or add --again to overwrite it"
                )

    def _refuse_others(self, job: Job, asked: dict[str, Any]) -> None:
        found = differences(job.settings.get("asked", {}), asked)
        if found == [CONTENTS] and self._config.ignore_changes:
            return
        if found:
            keep = ", or add --ignore-changes to go on as it was" if found == [CONTENTS] else ""
            raise UsageError(
                f"{self._config.output} belongs to a job ({counts_in_words(job.counts)}) that differs from "
                f"this command in {', '.join(found)}. Give what it was begun with, as `status "
                f"{short_job_id(job.id)}` shows it{keep}; or name another --out; or add --again, which "
                "forgets its answers and begins anew"
            )

    def _asked(self, source: Source) -> dict[str, Any]:
        """What makes this job another one than others with the same output."""
        config = self._config
        task = {} if config.task is None else asdict(config.task)
        return {
            **source.identity,
            **task,
            "pattern": config.pattern,
            "model": config.model,
            "wire_dtype": config.wire_dtype,
            "errors": os.fspath(config.errors),
        }

    async def _answers(self, opened: OpenedModel) -> Answers:
        """What makes answers. Raises UsageError for a prompt that leaves no room."""
        if self._config.task is None:
            return LineAnswers(opened.asker)
        return await TextAnswers.open(
            opened.asker, self._config.task, opened.text.background_room, model=self._config.model
        )

    def _ready(self, job: Job | None, source: Source, opened: OpenedModel, claim: Claim) -> Job:
        """The job, begun and with all its documents."""
        if job is None:
            return self._begun(source, opened, claim)
        if job.settings.get("manifest") != opened.text.manifest.hash:
            former = f"{self._config.model}@{str(job.settings.get('manifest'))[:16]}"
            raise UsageError(
                f"{self._config.model} is another model now than when {self._config.output} was begun: "
                f"name the former one, {former}, or add --again"
            )
        if self._config.most_layer_tokens != job.most_layer_tokens:
            job = self._store.set_budget(job.id, self._config.most_layer_tokens)
        say(f"going on with job {short_job_id(job.id)}: {counts_in_words(job.counts)}")
        return job

    def _begun(self, source: Source, opened: OpenedModel, claim: Claim) -> Job:
        config = self._config
        if config.again:
            if self._store.job(self.job_id) is not None:
                self._store.delete(self.job_id, claim=claim)
            for file in (config.output, config.errors):
                file.unlink(missing_ok=True)
        self._store.create(
            job_id=self.job_id,
            most_layer_tokens=config.most_layer_tokens,
            settings={
                "input": source.words,
                "output": os.fspath(config.output),
                "errors": os.fspath(config.errors),
                "model": opened.text.name,
                "manifest": opened.text.manifest.hash,
                "payer": opened.payer,
                "command": self._command,
                "folder": os.getcwd(),
                "asked": self._asked(source),
            },
        )
        self._store.add_documents(self.job_id, source.documents())
        job = self._store.begin(self.job_id, layers=opened.text.manifest.num_layers)
        say(f"job {short_job_id(job.id)}: {several(job.counts.total, 'document')} of {source.words}")
        return job

    async def _run(self, job: Job, answers: Answers, opened: OpenedModel, claim: Claim) -> int:
        began = time.monotonic()
        files = JobFiles(self._store, job.id, answers=self._config.output, errors=self._config.errors)
        try:
            with ProgressLine() as line:
                ended = await run_job(
                    self._store,
                    job.id,
                    answers,
                    room=opened.text.background_room,
                    files=files,
                    on_progress=line.show,
                    claim=claim,
                )
        finally:
            files.close()
        for words in run_lines(ended, seconds=time.monotonic() - began):
            say(words)
        return _status_of(ended)

    def _tell_over(self, job: Job) -> int:
        """Say that there is nothing to do. A file that has gone, or lost its end, is written again."""
        files = JobFiles(self._store, job.id, answers=self._config.output, errors=self._config.errors)
        were_whole = files.are_whole()
        if not were_whole:
            try:
                files.update()
            finally:
                files.close()
        for words in over_lines(job, is_written_again=not were_whole):
            say(words)
        return _status_of(job)


def _status_of(job: Job) -> int:
    return 0 if job.state is JobState.COMPLETED and not job.counts.failed else FAILED
