"""One job, in detail: for people, and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from p2pinfer.command_line.tables import Column, table
from p2pinfer.documents.jobs.job import Job
from p2pinfer.documents.showing.costs import Cost, cost_lines
from p2pinfer.documents.showing.words import counts_in_words, is_interrupted, setting, state_in_words, time_of
from p2pinfer.plain_text import printable, seconds_in_words, several

_MOST_PROBLEMS = 5
_MOST_REASON_CHARACTERS = 500


def job_lines(job: Job, found: Sequence[Cost] | None, now: float) -> Iterator[str]:
    """What is known of a job. `found` are costs, if rates were given; `now` is in Unix seconds."""
    yield f"job        {job.id}"
    yield f"state      {state_in_words(job)}{f', run by {job.runner}' if job.runner else ''}"
    if job.waiting_for:
        yield f"waits      {printable(job.waiting_for, _MOST_REASON_CHARACTERS)}"
    for name in ("input", "output", "errors", "model", "payer"):
        if value := setting(job, name):
            yield f"{name:<10} {value}"
    yield f"began      {time_of(job.created_at)}"
    if job.state.is_over and job.state in job.at:
        took = seconds_in_words(job.at[job.state] - job.created_at)
        yield f"ended      {time_of(job.at[job.state])}, {took} later"
    elif job.expires_at is not None:
        yield f"ends       in {seconds_in_words(job.expires_at - now)} at the latest"
    yield f"progress   {counts_in_words(job.counts)}"
    yield from _work(job)
    if found is not None:
        yield ""
        yield "by published rates:" if found else "no rate is valid now"
        yield from (f"  {line}" for line in cost_lines(found))
    for problem in job.problems[:_MOST_PROBLEMS]:
        yield f"problem    {printable(str(problem.get('message', '')), _MOST_REASON_CHARACTERS)}"
    if command := setting(job, "command"):
        yield ""
        yield f"{'to go on' if is_interrupted(job) else 'begun'}, in {setting(job, 'folder')}:"
        yield f"  {command}"


def job_json(job: Job, found: Sequence[Cost] | None) -> dict[str, Any]:
    """What is known of a job, for programs. Times are Unix seconds."""
    layers, spent = job.layers, job.spent
    fields: dict[str, Any] = {
        "id": job.id,
        "state": job.state.value,
        "runner": job.runner,
        "waiting_for": job.waiting_for,
        "documents": asdict(job.counts) | {"waiting": job.counts.waiting},
        "layers": layers,
        "tokens": asdict(spent),
        "layer_tokens": {
            "prefill": spent.prefill_tokens * layers,
            "decode": spent.decode_tokens * layers,
            "total": job.layer_tokens,
            "cached": spent.cached_tokens * layers,
            "most": job.most_layer_tokens,
        },
        "created_at": job.created_at,
        "expires_at": job.expires_at,
        "at": {state.value: at for state, at in job.at.items()},
        "settings": job.settings,
        "metadata": job.metadata,
        "problems": list(job.problems),
    }
    if found is not None:
        fields["costs"] = [
            {
                "name": cost.name,
                "currency": cost.currency,
                "prefill": str(cost.prefill),
                "decode": str(cost.decode),
                "total": str(cost.total),
                "is_payers": cost.is_payers,
            }
            for cost in found
        ]
    return fields


def _work(job: Job) -> Iterator[str]:
    spent, layers = job.spent, job.layers
    if layers == 0:
        return
    rows = [
        ("prompts, computed", spent.prefill_tokens),
        ("answers", spent.decode_tokens),
        ("together, to be paid", spent.computed_tokens),
        ("prompts, cached: not computed", spent.cached_tokens),
    ]
    yield ""
    yield from table(
        [
            Column(title="WORK", cells=[name for name, _ in rows]),
            Column(title="TOKENS", cells=[f"{tokens:,}" for _, tokens in rows], align_right=True),
            Column(
                title=f"x {several(layers, 'layer')}",
                cells=[f"{tokens * layers:,}" for _, tokens in rows],
                align_right=True,
            ),
        ]
    )
    if job.most_layer_tokens is not None:
        yield f"the job ends after {job.most_layer_tokens:,} layer-tokens"
