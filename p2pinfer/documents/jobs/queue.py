"""Questions about jobs that aren't over, whoever they belong to."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.documents.jobs.job import JobState
from p2pinfer.documents.jobs.rows import from_json, to_json
from p2pinfer.documents.jobs.tables import Tables

UNFINISHED = tuple(state for state in JobState if not state.is_over)

_IS_UNFINISHED = f"state IN ({', '.join('?' * len(UNFINISHED))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """What has to be known of a job to give it a turn. Times are Unix seconds."""

    id: str
    owner: str
    state: JobState
    created_at: float
    expires_at: float | None
    model: str
    """As the job's settings name it; empty if they don't."""


def unfinished(tables: Tables, *, limit: int) -> list[Unfinished]:
    """Jobs of owners that aren't over, the oldest first. A thousand take some milliseconds."""
    query = (
        f"SELECT id, owner, state, created_at, expires_at, settings FROM jobs WHERE {_IS_UNFINISHED} "
        "AND owner <> ? ORDER BY serial LIMIT ?"
    )
    return [
        Unfinished(
            id=job_id,
            owner=from_json(owner),
            state=JobState(state),
            created_at=created_at,
            expires_at=expires_at,
            model=_model_in(settings),
        )
        for job_id, owner, state, created_at, expires_at, settings in tables.rows(
            query, (*UNFINISHED, to_json(""), limit)
        )
    ]


def _model_in(settings: str) -> str:
    try:
        found = from_json(settings)
    except ValueError:  # a damaged row: whoever opens the job hears of it
        return ""
    model = found.get("model") if isinstance(found, dict) else None
    return model if isinstance(model, str) else ""


def count_unfinished(tables: Tables, owner: str | None = None) -> int:
    """How many jobs of an owner, or of all owners, aren't over."""
    query, values = f"SELECT count(*) FROM jobs WHERE {_IS_UNFINISHED}", list[str](UNFINISHED)
    if owner is not None:
        query += " AND owner = ?"
        values.append(to_json(owner))
    [(count,)] = tables.rows(query, values)
    return int(count)


def is_needed(tables: Tables, input_file: str) -> bool:
    """True if a job that isn't over has this input."""
    query = f"SELECT 1 FROM jobs WHERE {_IS_UNFINISHED} AND input_file = ? LIMIT 1"
    return bool(tables.rows(query, (*UNFINISHED, to_json(input_file))))


def kept_for_nothing(tables: Tables) -> list[str]:
    """Jobs of owners that are over, and still have documents: a kill came before they were forgotten."""
    query = (
        f"SELECT id FROM jobs WHERE NOT {_IS_UNFINISHED} AND owner <> ? "
        "AND EXISTS (SELECT 1 FROM documents WHERE job = jobs.serial)"
    )
    return [job_id for [job_id] in tables.rows(query, (*UNFINISHED, to_json("")))]


def over_since(tables: Tables, made_before: float) -> list[str]:
    """Jobs of owners that are over, and were made before a time; up to a thousand."""
    query = f"SELECT id FROM jobs WHERE NOT {_IS_UNFINISHED} AND owner <> ? AND created_at < ? LIMIT 1000"
    return [job_id for [job_id] in tables.rows(query, (*UNFINISHED, to_json(""), made_before))]
