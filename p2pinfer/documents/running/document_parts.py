"""Pieces of one document's answer, which survive a kill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from p2pinfer.documents.jobs.job import Spent

Keep = Callable[[str, str, Spent], Awaitable[None]]


class DocumentParts:
    """What was kept of a document's answer. For the event loop."""

    def __init__(self, kept: dict[str, str], keep: Keep) -> None:
        """`keep` brings a piece into the store."""
        self._kept = kept
        self._keep = keep

    @property
    def kept(self) -> Mapping[str, str]:
        """The pieces by their names."""
        return self._kept

    async def keep(self, part: str, text: str, spent: Spent) -> None:
        """Keep one more, and count what it took. Raises JobStoreError."""
        await self._keep(part, text, spent)
        self._kept[part] = text
