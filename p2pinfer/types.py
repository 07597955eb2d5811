"""Types that all folders share: peers and the ways to them, spans of layers, their cost, sessions."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NewType

PeerId = NewType("PeerId", str)
"""A libp2p peer id in base58. An Ed25519 one contains the peer's public key."""

SessionId = NewType("SessionId", bytes)
"""16 random bytes that the client chooses."""

SESSION_ID_BYTES = 16


class Way(enum.StrEnum):
    """How a peer is reached, the best way first."""

    DIRECT = "direct"  # TLS to an endpoint of its own
    MAPPED = "mapped"  # libp2p, through a port that its router has opened for it
    TUNNEL = "tunnel"  # libp2p, where it can be dialled
    PUNCHED = "punched"  # libp2p, through the holes that both sides made in their routers
    RELAYED = "relayed"  # through a third peer


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and with which certificate. Only the server's signed record is the source."""

    peer_id: PeerId
    endpoints: tuple[str, ...]  # HOST:PORT of gRPC and lanes over TLS; empty: only a tunnel leads to it
    certificate: bytes  # DER
    maddrs: tuple[str, ...] = ()  # full multiaddresses where its libp2p node can be dialled
    relays: tuple[str, ...] = ()  # full multiaddresses of the peers through which it is reached
    is_mapped: bool = False  # `maddrs` are ports that its router has opened for it


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Neighbouring layers of one model, half-open: [start, end)."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a span needs 0 <= start < end, not {self.start}:{self.end}")

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `10:20`. Raises ValueError, with the expected form, for other text."""
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


@dataclass(frozen=True, slots=True)
class LayerSeconds:
    """Seconds that one token takes in one layer: a straight line over the tokens cached before it."""

    first: float = 0.0  # without a context; 0.0: unknown
    per_1024: float = 0.0  # what each 1,024 tokens of context add

    def after(self, tokens: float) -> float:
        """Seconds for a token that has `tokens` tokens before it."""
        return self.first + tokens / 1024 * self.per_1024

    def times(self, factor: float) -> LayerSeconds:
        """The line of a machine that takes `factor` times as long."""
        return LayerSeconds(self.first * factor, self.per_1024 * factor)


UNKNOWN_SECONDS = LayerSeconds()


def short_id(peer_id: str) -> str:
    """The last six characters of a peer id, which are enough for people to tell peers apart."""
    return f"…{peer_id[-6:]}"
