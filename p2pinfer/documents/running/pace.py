"""How often a run looks around, and how long it pauses before something is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.backoff import Backoff

_DOCUMENT = Backoff(first_seconds=2.0, most_seconds=60.0)
_DOUBTFUL = Backoff(first_seconds=30.0, most_seconds=600.0)
_SWARM = Backoff(first_seconds=1.0, most_seconds=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The defaults suit a swarm of homes: servers that leave are replaced within a minute or so."""

    look_seconds: float = 0.5
    """How often outcomes are written, and the state of the job is read."""
    document: Backoff = _DOCUMENT
    """Between attempts at one document."""
    doubtful: Backoff = _DOUBTFUL
    """The same, where servers are full or fail, and no other document shows whether they take any at all."""
    swarm: Backoff = _SWARM
    """Between documents that show whether a swarm that is away is back."""
