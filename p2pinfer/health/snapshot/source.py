"""What the web pages ask of whoever watches the swarm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2pinfer.health.snapshot.state import HealthState, Sample

MAX_BUNDLE_BYTES = 8_000_000
"""The largest bundle of receipts that the page takes: months of one server's sessions."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of a bundle of receipts that somebody sent in."""

    taken: int
    known: int  # that were here already
    refused: tuple[str, ...]  # why, a line each, of the first few


class HealthSource(Protocol):
    """The newest snapshot, and what was before. For the event loop; nothing here waits for the swarm."""

    def state(self) -> HealthState:
        """The newest snapshot."""

    def history(self, model: str, hours: float) -> Sequence[Sample]:
        """Of a model (manifest hash), oldest first, at most 300; empty if it isn't known."""

    async def wait_newer(self, than: float) -> HealthState:
        """The next snapshot that was generated after that time (Unix seconds)."""

    async def submit(self, bundle: AsyncIterator[bytes]) -> Submission:
        """Take receipts for the leaderboard. Raises UsageError for what is no bundle, or too large."""
