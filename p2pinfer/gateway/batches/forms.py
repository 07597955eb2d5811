"""A batch in OpenAI's form. Pure."""

from __future__ import annotations

from typing import Any

from p2pinfer.documents.jobs.job import Job, JobState, Spent

WINDOW = "24h"
WINDOW_SECONDS = 86_400.0

_TIMES = (
    JobState.IN_PROGRESS,
    JobState.FINALIZING,
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.EXPIRED,
    JobState.CANCELLING,
    JobState.CANCELLED,
)


def batch_entry(job: Job) -> dict[str, Any]:
    """The batch as it is now."""
    errors = {"object": "list", "data": list(job.problems)} if job.state is JobState.FAILED else None
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": job.url,
        "model": job.settings.get("model"),
        "errors": errors,
        "input_file_id": job.input_file,
        "completion_window": WINDOW,
        "status": str(job.state),
        "output_file_id": job.output_file,
        "error_file_id": job.error_file,
        "created_at": int(job.created_at),
        "expires_at": _whole(job.expires_at),
        **{f"{state}_at": _whole(job.at.get(state)) for state in _TIMES},
        "request_counts": {
            "total": job.counts.total,
            "completed": job.counts.completed,
            "failed": job.counts.failed,
        },
        "usage": _usage(job.spent),
        "metadata": job.metadata or None,
    }


def _usage(spent: Spent) -> dict[str, Any]:
    input_tokens = spent.prefill_tokens + spent.cached_tokens
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": spent.cached_tokens},
        "output_tokens": spent.decode_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + spent.decode_tokens,
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
