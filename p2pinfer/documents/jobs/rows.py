"""Jobs, documents and outcomes as rows of the store's tables, and back. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from p2pinfer.documents.jobs.job import Counts, Document, Finished, Job, JobState, Outcome, Spent
from p2pinfer.errors import JobError

MOST_INTEGER = 2**63 - 1
"""Of SQLite."""

JOB_COLUMNS = (
    "id, owner, url, state, times, total, completed, failed, prefill_tokens, cached_tokens, decode_tokens, "
    "layers, most_layer_tokens, created_at, expires_at, metadata, settings, problems, "
    "input_file, output_file, error_file, waiting_for"
)

_JOB_ID = re.compile(r"batch_[0-9a-f]{32}")


def is_job_id(text: str) -> bool:
    """True for `batch_` and 32 hexadecimal digits."""
    return _JOB_ID.fullmatch(text) is not None


def to_json(value: object, *, is_strict: bool = False) -> str:
    """Any value that Python's JSON gave, as ASCII. Raises JobError for one that can't be written as JSON.

    A strict one has no infinite numbers either, which other readers don't know.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=not is_strict)
    except (TypeError, ValueError, RecursionError) as error:  # ValueError: an integer of thousands of digits
        raise JobError(f"this can't be kept as JSON: {error}") from error


def from_json(text: str) -> Any:
    """What `to_json` was given."""
    return json.loads(text)


def job_of(row: tuple[Any, ...]) -> Job:
    """The job of a row with JOB_COLUMNS; who runs it is not in the row."""
    job_id, owner, url, state, times, total, completed, failed, prefill, cached, decode, *rest = row
    layers, most_layer_tokens, created_at, expires_at, metadata, settings, problems, *texts = rest
    input_file, output_file, error_file, waiting_for = map(from_json, texts)
    return Job(
        id=job_id,
        owner=from_json(owner),
        url=from_json(url),
        state=JobState(state),
        counts=Counts(total=total, completed=completed, failed=failed),
        spent=Spent(prefill_tokens=prefill, cached_tokens=cached, decode_tokens=decode),
        layers=layers,
        most_layer_tokens=most_layer_tokens,
        created_at=created_at,
        expires_at=expires_at,
        at={JobState(name): at for name, at in from_json(times).items()},
        metadata=from_json(metadata),
        settings=from_json(settings),
        problems=tuple(from_json(problems)),
        input_file=input_file,
        output_file=output_file,
        error_file=error_file,
        waiting_for=waiting_for,
    )


def document_of(row: tuple[Any, ...]) -> Document:
    """The document of a row (number, custom_id, url, body, attempts)."""
    number, custom_id, url, body, attempts = row
    return Document(
        number=number,
        custom_id=from_json(custom_id),
        url=from_json(url),
        body=from_json(body),
        attempts=attempts,
    )


def finished_of(row: tuple[Any, ...]) -> Finished:
    """The outcome of a row (place, custom_id, number, status, body, three sorts of tokens)."""
    place, custom_id, number, status, body, prefill, cached, decode = row
    spent = Spent(prefill_tokens=prefill, cached_tokens=cached, decode_tokens=decode)
    outcome = Outcome(number=number, status=status, body=from_json(body), spent=spent)
    return Finished(place=place, custom_id=from_json(custom_id), outcome=outcome)


def checked_budget(most_layer_tokens: int | None) -> int | None:
    """A budget that the store can keep. Raises JobError for one below 0 or beyond 64 bits."""
    if most_layer_tokens is not None and not 0 <= most_layer_tokens <= MOST_INTEGER:
        raise JobError(f"a budget of layer-tokens is from 0 to {MOST_INTEGER:,}")
    return most_layer_tokens


def checked_time(at: float | None) -> float | None:
    """A time that the store can keep. Raises JobError for one that isn't finite."""
    if at is not None and not math.isfinite(at):
        raise JobError(f"{at} isn't a time")
    return at
