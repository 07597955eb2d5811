"""Which error of a document is tried again, when, and how often. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum, auto

from p2pinfer.backoff import Chance, jittered
from p2pinfer.documents.running.pace import Pace
from p2pinfer.errors import (
    GrammarError,
    HopFailedError,
    ModelError,
    NoRouteError,
    RefusedError,
    SwarmError,
    UsageError,
)
from p2pinfer.openai_api.errors import ApiError

MOST_ATTEMPTS = 5
_MOST_ASKED_SECONDS = 300.0  # that a server may ask to be left alone


class Trouble(Enum):
    """What an error says about where the trouble is."""

    IN_DOCUMENT = auto()
    """It is wrong, and stays wrong."""
    IN_ATTEMPT = auto()
    """Something that should not happen, and may not happen again."""
    IN_SWARM_OR_DOCUMENT = auto()
    """Servers had no room, or failed: they are busy or leaving, or can't take this very document."""
    IN_SWARM = auto()
    """Servers are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What happens to a document that has failed."""

    is_final: bool = False
    """It keeps its error, and isn't tried again."""
    counts: bool = False
    """This was one of its attempts. Otherwise the swarm may be the cause, and the job says so."""
    holds_all: bool = False
    """The swarm is away: no other document is begun, but for one at a time that shows whether it is back."""
    pause_seconds: float = 0.0
    """After which this document is tried again."""


def trouble_of(error: Exception) -> Trouble:
    """Where the trouble is.

    >>> trouble_of(UsageError("no")).name, trouble_of(SwarmError("nobody")).name
    ('IN_DOCUMENT', 'IN_SWARM')
    """
    match error:
        case ApiError(status=429):
            return Trouble.IN_SWARM_OR_DOCUMENT
        case ApiError(status=503):
            return Trouble.IN_SWARM
        case ApiError(status=status):
            return Trouble.IN_ATTEMPT if status >= 500 or status == 408 else Trouble.IN_DOCUMENT
        case UsageError() | ModelError() | GrammarError():
            return Trouble.IN_DOCUMENT
        case NoRouteError() if not error.is_for_room:
            return Trouble.IN_SWARM
        case NoRouteError() | RefusedError() | HopFailedError():
            return Trouble.IN_SWARM_OR_DOCUMENT
        case SwarmError():
            return Trouble.IN_SWARM
    return Trouble.IN_ATTEMPT


def verdict_on(
    error: Exception,
    *,
    attempts: int,
    tries: int,
    has_answered_since: bool,
    is_without_others: bool,
    pace: Pace,
    chance: Chance = random.random,
) -> Verdict:
    """What happens to a document that has failed with `error`, after so many attempts that counted.

    `tries` are all of this run, that don't count as well; pauses grow with them.
    `has_answered_since`: the swarm has answered another document since this attempt began: it is there.
    `is_without_others`: all that are left have failed, so that no other one can show whether it is there.
    """
    trouble = trouble_of(error)
    if trouble is Trouble.IN_DOCUMENT:
        return Verdict(is_final=True)
    if not has_answered_since and trouble is Trouble.IN_SWARM:
        return Verdict(holds_all=True)
    is_doubtful = not has_answered_since and trouble is Trouble.IN_SWARM_OR_DOCUMENT
    pauses = pace.doubtful if is_doubtful and is_without_others else pace.document
    pause = max(jittered(pauses.longest_seconds(tries + 1), chance), _asked_seconds(error))
    if is_doubtful and not is_without_others:
        return Verdict(pause_seconds=pause)
    if attempts + 1 >= MOST_ATTEMPTS:
        return Verdict(is_final=True)
    return Verdict(counts=True, pause_seconds=pause)


def _asked_seconds(error: Exception) -> float:
    seconds = error.retry_after_seconds if isinstance(error, RefusedError | ApiError) else 0.0
    return min(max(seconds or 0.0, 0.0), _MOST_ASKED_SECONDS)
