"""The documents that have not been begun, or are to be tried again: which one is next."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from p2pinfer.documents.jobs.job import Document
from p2pinfer.documents.jobs.job_store import JobStore

_PAGE = 64
_MOST_AGAIN = 1_000
"""So many lie in memory to be tried again; beyond that no other is begun."""


@dataclass(slots=True)
class Todo:
    """A document that waits for its answer."""

    document: Document
    parts: dict[str, str]
    """Pieces of its answer that were kept."""
    attempts: int = field(init=False)
    began_at: float = 0.0
    answers_before: int | None = None
    """How many others had been answered in this run when its present attempt began; None: it did not.

    An attempt that finds the swarm away goes on with the next try.
    """

    def __post_init__(self) -> None:
        self.attempts = self.document.attempts


def read_page(store: JobStore, job_id: str, after: int) -> list[Todo]:
    """The next documents without an outcome, and what was kept of their answers."""
    documents = store.waiting(job_id, after=after, limit=_PAGE)
    if not documents:
        return []
    parts: Mapping[int, dict[str, str]] = store.parts_between(
        job_id, documents[0].number, documents[-1].number
    )
    return [Todo(document, parts.get(document.number, {})) for document in documents]


class TodoList:
    """Fresh documents in order, and those to be tried again when their time has come. In memory."""

    def __init__(self) -> None:
        self._fresh: deque[Todo] = deque()
        self._again: list[tuple[float, int, Todo]] = []
        self._order = itertools.count()
        self._has_all = False
        self.last_number = -1
        """Of the documents that were read."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._again)

    @property
    def is_empty(self) -> bool:
        """True if nothing is left here or in the store."""
        return self._has_all and not self

    @property
    def has_fresh(self) -> bool:
        """True if some were never tried in this run."""
        return bool(self._fresh) or not self._has_all

    @property
    def wants_page(self) -> bool:
        """True if the next documents are to be read."""
        return not self._has_all and not self._fresh and len(self._again) < _MOST_AGAIN

    def add_page(self, page: Sequence[Todo]) -> None:
        """Add documents that were read; none: there are no more."""
        if page:
            self._fresh.extend(page)
            self.last_number = page[-1].document.number
        else:
            self._has_all = True

    def add_again(self, todo: Todo, at: float) -> None:
        """Try a document again at some time."""
        heapq.heappush(self._again, (at, next(self._order), todo))

    def seconds_left(self, now: float) -> float:
        """Until there is one to begin: 0: now; infinite: there is none."""
        if self._fresh:
            return 0.0
        return max(0.0, self._again[0][0] - now) if self._again else math.inf

    def take(self, now: float, *, fresh_first: bool) -> Todo:
        """The next one; there has to be one. Those to be tried again come first, unless `fresh_first`."""
        is_due = bool(self._again) and self._again[0][0] <= now
        if self._fresh and (fresh_first or not is_due):
            return self._fresh.popleft()
        return heapq.heappop(self._again)[2]
