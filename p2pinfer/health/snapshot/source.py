"""The interface between the watcher of the swarm and the web pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2pinfer.health.snapshot.state import HealthState, Sample
from p2pinfer.owner.statement.bundle import PART_BYTES

MAX_BUNDLE_BYTES = PART_BYTES
"""The largest bundle of receipts that the page takes: `export` writes none that is larger."""


@dataclass(frozen=True, slots=True)
class Submission:
    """The result of a submitted bundle of receipts."""

    taken: int
    known: int  # receipts that the page had already
    refused: tuple[str, ...]  # the first reasons, one per line


class HealthSource(Protocol):
    """The newest snapshot, and history. For the event loop; only `wait_newer` waits for the swarm."""

    def state(self) -> HealthState:
        """The newest snapshot."""

    def history(self, model: str, hours: float) -> Sequence[Sample]:
        """Samples of a model (manifest hash), oldest first, at most 300. Empty for an unknown model."""

    async def wait_newer(self, than: float) -> HealthState:
        """The next snapshot generated after `than`, Unix seconds."""

    async def submit(self, bundle: AsyncIterator[bytes]) -> Submission:
        """Add receipts to the leaderboard. Raises UsageError if it is no bundle, or too large."""
