"""A job, its documents, and what came of them. Plain data; the states are those of OpenAI's batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job is.

    validating -> failed                                  nothing of the input can be used
               -> cancelling -> cancelled                 nothing was begun
               -> in_progress -> finalizing -> completed  every document has an answer or an error
                              -> finalizing -> expired    the time was over; what was answered is kept
                              -> cancelling -> cancelled  likewise
    """

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """True if nothing more happens to the job."""
        return not _STEPS[self]

    def may_become(self, state: JobState) -> bool:
        """True if there is such a step."""
        return state in _STEPS[self]


_STEPS: dict[JobState, frozenset[JobState]] = {
    JobState.VALIDATING: frozenset({JobState.FAILED, JobState.IN_PROGRESS, JobState.CANCELLING}),
    JobState.FAILED: frozenset(),
    JobState.IN_PROGRESS: frozenset({JobState.FINALIZING, JobState.CANCELLING}),
    JobState.FINALIZING: frozenset({JobState.COMPLETED, JobState.EXPIRED}),
    JobState.COMPLETED: frozenset(),
    JobState.EXPIRED: frozenset(),
    JobState.CANCELLING: frozenset({JobState.CANCELLED}),
    JobState.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What documents took, in tokens of whole texts: times the model's layers they are layer-tokens."""

    prefill_tokens: int = 0
    """Tokens of prompts that were computed."""
    cached_tokens: int = 0
    """Tokens of prompts that servers had already: not computed, and not paid."""
    decode_tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            prefill_tokens=self.prefill_tokens + other.prefill_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            decode_tokens=self.decode_tokens + other.decode_tokens,
        )

    @property
    def computed_tokens(self) -> int:
        """What servers computed, and are paid for."""
        return self.prefill_tokens + self.decode_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Documents of a job. Those that are neither completed nor failed still wait."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def waiting(self) -> int:
        """Documents without an answer or an error."""
        return self.total - self.completed - self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document that waits for its answer: a line of OpenAI's batch input."""

    number: int
    """Its place in the input, from 0."""
    custom_id: str
    url: str
    body: dict[str, Any]
    attempts: int = 0
    """How often it was tried without an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a document: an answer (status 200), or an error that is kept."""

    number: int
    status: int
    """As in HTTP; 0: the document was never answered, because the job expired or was cancelled."""
    body: dict[str, Any]
    """OpenAI's answer, or `{"error": {...}}`."""
    spent: Spent = field(default_factory=Spent)
    """Without what its kept parts took: that is counted when they are kept."""

    @property
    def is_answer(self) -> bool:
        """False for an error."""
        return self.status == 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An outcome as the store keeps it."""

    place: int
    """Grows in the order of finishing; differs between all documents of a store."""
    custom_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is now. Times are Unix seconds."""

    id: str
    """`batch_` and 32 hexadecimal digits."""
    owner: str
    """The id of the API key that made it; empty: this machine's user."""
    url: str
    """The endpoint of its lines; empty: they may name different ones."""
    state: JobState
    counts: Counts
    spent: Spent
    layers: int
    """Of its model; 0 while that isn't known. Tokens times layers are layer-tokens."""
    most_layer_tokens: int | None
    """The job ends between two documents when it has spent so many."""
    created_at: float
    expires_at: float | None
    at: dict[JobState, float]
    """When it came into each state that it has been in."""
    metadata: dict[str, str]
    settings: dict[str, Any]
    """What the program that runs it needs to know, such as prompts of `documents run`."""
    problems: tuple[dict[str, Any], ...] = ()
    """Why it failed, as OpenAI tells it: code, message, param, line."""
    input_file: str | None = None
    output_file: str | None = None
    error_file: str | None = None
    runner: str = ""
    """Who runs it now, for people (`pid 4711 on host`); empty: nobody."""
    waiting_for: str = ""
    """Why its runner waits for the swarm, for people; empty: it goes on, or nobody runs it."""

    @property
    def layer_tokens(self) -> int:
        """What servers computed for it."""
        return self.spent.computed_tokens * self.layers
