"""Who takes something."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.fairness.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A key and where it comes from. Every source is bounded: a tunnel's peer has itself and its relay."""

    key: bytes | None = None
    """None: it has not said who it is, as while it connects."""
    sources: tuple[Source, ...] = ()  # the narrowest first
    is_known: bool = False
    """True for one with merit."""

    @property
    def network(self) -> Source | None:
        """The widest of its sources: a tunnel's peer has its identity as well, which costs nothing."""
        return self.sources[-1] if self.sources else None
