"""Jobs with some documents, for tests."""

from __future__ import annotations

from collections.abc import Iterator

from p2pinfer.documents.jobs.job import Document, Job, Outcome, Spent
from p2pinfer.documents.jobs.job_store import JobStore

NOW = 1_800_000_000.0
URL = "/v1/chat/completions"


def documents(count: int, *, first: int = 0) -> Iterator[Document]:
    """Documents that ask little things."""
    for number in range(first, first + count):
        body = {"model": "m", "messages": [{"role": "user", "content": f"What is {number}?"}]}
        yield Document(number=number, custom_id=f"line-{number}", url=URL, body=body)


def begun(store: JobStore, count: int, *, layers: int = 30, most_layer_tokens: int | None = None) -> Job:
    """A job that is in progress."""
    job = store.create(url=URL, most_layer_tokens=most_layer_tokens)
    store.add_documents(job.id, documents(count))
    return store.begin(job.id, layers=layers)


def answer(number: int, text: str = "fine") -> Outcome:
    """An answer, which took 7 and 3 tokens."""
    return Outcome(
        number=number, status=200, body={"text": text}, spent=Spent(prefill_tokens=7, decode_tokens=3)
    )


def error(number: int, status: int = 400) -> Outcome:
    """An error that is kept."""
    body = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}}
    return Outcome(number=number, status=status, body=body)
