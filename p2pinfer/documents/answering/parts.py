"""Pieces of a long document's answer, which survive a kill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from p2pinfer.documents.jobs.job import Spent


class Parts(Protocol):
    """Those of one document."""

    @property
    def kept(self) -> Mapping[str, str]:
        """By their names."""

    async def keep(self, part: str, text: str, spent: Spent) -> None:
        """Keep one more, and count what it took."""
