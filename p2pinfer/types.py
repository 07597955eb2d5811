"""Words that every folder shares: who a peer is, which layers it holds, which session is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

PeerId = NewType("PeerId", str)
"""A libp2p peer id in base58, the hash of (or the whole of) a public key."""

SessionId = NewType("SessionId", bytes)
"""Sixteen random bytes, chosen by the client."""

SESSION_ID_BYTES = 16


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Contiguous layers of one model, half-open: [start, end)."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a span needs 0 <= start < end, not {self.start}:{self.end}")

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `10:20`. Raises ValueError with what was expected."""
        start, colon, end = text.partition(":")
        if not colon or not start.isdecimal() or not end.isdecimal():
            raise ValueError(f"layers are written START:END, like 10:20, not {text!r}")
        return cls(int(start), int(end))

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.start}:{self.end}"

    def __contains__(self, layer: int) -> bool:
        return self.start <= layer < self.end

    def within(self, other: Span) -> bool:
        """True if every layer of this span is in `other`."""
        return other.start <= self.start and self.end <= other.end


def short_id(peer_id: str) -> str:
    """The last six characters: enough for a person to tell peers apart."""
    return f"…{peer_id[-6:]}"
