"""What is read back from the ledger. Intervals are those of interval.py."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.owner.states import OwnerState
from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire.receipts import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWork:
    """What one receipt added to those of its session before it."""

    server: PeerId
    session_id: SessionId
    client: bytes  # public key, libp2p encoding
    model: str
    layers: Span
    added: Work
    issued_at: float  # by the client's clock
    added_at: float  # by this machine's

    @property
    def prefill_layer_tokens(self) -> int:
        """Added tokens of prompts times layers."""
        return self.added.prefill_tokens * len(self.layers)

    @property
    def decode_layer_tokens(self) -> int:
        """Added tokens of answers times layers."""
        return self.added.decode_tokens * len(self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """A session that is over: what was done, and for how much of it there is a signature by now."""

    server: PeerId
    session_id: SessionId
    client: bytes
    model: str
    layers: Span
    work: Work
    signed: Work
    started_at: float
    ended_at: float

    @property
    def unsigned_layer_tokens(self) -> int:
        """Work that nobody has signed for."""
        return (self.work - self.signed.at_most(self.work)).tokens * len(self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """That a server went into a state, and why."""

    server: PeerId
    at: float
    state: OwnerState
    words: str
