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


@dataclass(slots=True, eq=False)
class Todo:
    """A document that waits for its answer."""

    document: Document
    parts: dict[str, str]
    """Pieces of its answer that were kept."""
    attempts: int = field(init=False)
    """That counted, in all runs."""
    tries: int = 0
    """In this run."""
    began_at: float = 0.0
    answers_before: int | None = None
    """How many others had been answered in this run when its present attempt began; None: it did not.

    An attempt that finds the swarm away goes on with the next try.
    """

    def __post_init__(self) -> None:
        self.attempts = self.document.attempts


_Later = tuple[float, int, Todo]  # when, order of coming


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
    """Fresh documents in order, and those to be tried again when their time has come. In memory.

    Those that failed while nothing was answered come after fresh ones, which may be answered. As soon as one
    is, they come first, as all that are tried again.
    """

    def __init__(self) -> None:
        self._fresh: deque[Todo] = deque()
        self._again: list[_Later] = []
        self._doubtful: list[_Later] = []
        self._order = itertools.count()
        self._has_all = False
        self.last_number = -1
        """Of the documents that were read."""

    @property
    def is_empty(self) -> bool:
        """True if nothing is left here or in the store."""
        return self._has_all and not self._fresh and not self._again and not self._doubtful

    @property
    def has_fresh(self) -> bool:
        """True if some that were never tried in this run can be begun."""
        return bool(self._fresh) or self.wants_page

    @property
    def wants_page(self) -> bool:
        """True if the next documents are to be read."""
        is_full = len(self._again) + len(self._doubtful) >= _MOST_AGAIN
        return not self._has_all and not self._fresh and not is_full

    def add_page(self, page: Sequence[Todo]) -> None:
        """Add documents that were read; none: there are no more."""
        if page:
            self._fresh.extend(page)
            self.last_number = page[-1].document.number
        else:
            self._has_all = True

    def add_again(self, todo: Todo, at: float, *, is_doubtful: bool) -> None:
        """Try a document again at some time."""
        heapq.heappush(self._doubtful if is_doubtful else self._again, (at, next(self._order), todo))

    def trust(self) -> None:
        """A document was answered."""
        for later in self._doubtful:
            heapq.heappush(self._again, later)
        self._doubtful.clear()

    def seconds_left(self, now: float) -> float:
        """Until there is one to begin: 0: now; infinite: there is none."""
        if self._fresh:
            return 0.0
        times = [heap[0][0] for heap in (self._again, self._doubtful) if heap]
        return max(0.0, min(times) - now) if times else math.inf

    def take(self, now: float, *, fresh_first: bool) -> Todo:
        """The next one; there has to be one."""
        if self._fresh and (fresh_first or not _is_due(self._again, now)):
            return self._fresh.popleft()
        return heapq.heappop(self._again if _is_due(self._again, now) else self._doubtful)[2]


def _is_due(heap: Sequence[_Later], now: float) -> bool:
    return bool(heap) and heap[0][0] <= now
