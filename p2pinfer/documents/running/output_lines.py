"""Outcomes as lines of OpenAI's batch output. Pure: the same outcome is the same line, byte for byte."""

from __future__ import annotations

import json
from hashlib import sha256

from p2pinfer.documents.jobs.job import Finished


def output_line(job_id: str, finished: Finished) -> bytes:
    """A line with its end. Of a document that was never answered, `response` is null, `error` says why.

    It is ASCII: readers that end lines at any line end of Unicode see one line too.
    """
    outcome = finished.outcome
    name = sha256(f"{job_id} {outcome.number}".encode()).hexdigest()[:32]
    was_answered = outcome.status != 0
    response = {"status_code": outcome.status, "request_id": f"req_{name}", "body": outcome.body}
    line = {
        "id": f"batch_req_{name}",
        "custom_id": finished.custom_id,
        "response": response if was_answered else None,
        "error": None if was_answered else outcome.body.get("error"),
    }
    return json.dumps(line).encode("ascii") + b"\n"
