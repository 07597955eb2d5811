"""Entries that are read from the ledger. interval.py has another one."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.owner.states import OwnerState
from p2pinfer.types import PeerId, SessionId, Span
from p2pinfer.wire.receipts import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWork:
    """The work that one receipt adds to the earlier receipts of its session."""

    server: PeerId
    session_id: SessionId
    client: bytes  # public key, libp2p encoding
    model: str
    layers: Span
    added: Work
    issued_at: float  # Unix seconds, by the client's clock
    added_at: float  # Unix seconds, by this machine's clock

    @property
    def prefill_layer_tokens(self) -> int:
        """Added prefill tokens times layers."""
        return self.added.prefill_tokens * len(self.layers)

    @property
    def decode_layer_tokens(self) -> int:
        """Added decode tokens times layers."""
        return self.added.decode_tokens * len(self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """A session that has ended: its work, and how much of the work is signed by now."""

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
        """Work without a signature, in tokens times layers."""
        return (self.work - self.signed.at_most(self.work)).tokens * len(self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallWork:
    """Work whose receipts, if there were any, are not kept: see worth.py."""

    server: PeerId
    at: float  # Unix seconds: the start of a quarter of an hour
    sessions: int
    layer_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A server's change to another state, and why."""

    server: PeerId
    at: float
    state: OwnerState
    words: str
