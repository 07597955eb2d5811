"""What can go wrong, in one tree. Every message says what to do about it.

P2PInferError
|- UsageError                    a flag, an argument or a call that can't work as given
|  `- PromptTooLongError         more tokens than the model or the session takes
|- ModelError                    a model that can't be read or converted
|  |- UnsupportedModelError      not a decoder family that p2pinfer runs
|  `- StoreError                 a layer store that is incomplete, altered or can't be written
|- DatabaseError                 a database file of p2pinfer that can't be read or written
|  `- LedgerError                the ledger of signed work
|- EngineError                   the thread that computes has ended, by a fault of ours
|- SwarmError                    the swarm as a whole can't serve
|  |- SwarmUnreachableError      nobody answers at the addresses given
|  `- NoRouteError               layers that no reachable server holds
|- RefusedError                  a server said no at opening, and why
|- HopFailedError                a server in use left, hung or broke the protocol
|  `- LinkFailedError            two neighbours in a route live, but nothing gets from one to the other
`- ProtocolError                 a peer sent what the protocol forbids
   |- InvalidReceiptError        a receipt that is forged, altered or malformed
   |- InvalidRecordError         a swarm record that is forged, stale or malformed
   `- InvalidTensorError         a tensor that breaks the session's contract
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.types import PeerId, Span, short_id


class P2PInferError(Exception):
    """The root: catch this to catch everything that p2pinfer raises on purpose.

    `rows` holds what there was so far if a generation is cut short by it: the token ids of each sequence,
    prompt and answer.
    """

    rows: Sequence[Sequence[int]] | None = None


class UsageError(P2PInferError, ValueError):
    """A flag, an argument or a call that can't work as given."""


class PromptTooLongError(UsageError):
    """More tokens than the model or the session takes."""


class ModelError(P2PInferError):
    """A model that can't be read or converted."""


class UnsupportedModelError(ModelError):
    """Not a decoder family that p2pinfer runs."""


class StoreError(ModelError):
    """A layer store that is incomplete, altered, or can't be written."""


class EngineError(P2PInferError):
    """The thread that computes has ended, by a fault of ours: a server without it can't go on."""


class DatabaseError(P2PInferError):
    """A database file of p2pinfer that can't be read or written."""


class LedgerError(DatabaseError):
    """A ledger of signed work that can't be read or written."""


class SwarmError(P2PInferError):
    """The swarm as a whole can't serve."""


class SwarmUnreachableError(SwarmError):
    """Nobody answers at the addresses given."""


class NoRouteError(SwarmError):
    """Layers that no reachable server holds; `missing` names them."""

    def __init__(self, message: str, missing: tuple[Span, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class RefusedError(P2PInferError):
    """A server said no at opening. `reason` is a word of `wire.status.Reason`."""

    def __init__(self, peer_id: PeerId, reason: str, detail: str, retry_after_seconds: float = 0.0):
        super().__init__(f"server {short_id(peer_id)} refused: {detail}")
        self.peer_id = peer_id
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class HopFailedError(P2PInferError):
    """A server in use left, hung or broke the protocol.

    `certain` is False where it may be innocent: nothing was heard in time, or its stream broke, for
    which the network or another hop may be to blame as well.
    """

    def __init__(self, peer_id: PeerId, detail: str, *, certain: bool = True) -> None:
        super().__init__(f"server {short_id(peer_id)} failed: {detail}")
        self.peer_id = peer_id
        self.certain = certain


class LinkFailedError(HopFailedError):
    """Two neighbours in a route live, but nothing gets from `sender` to `peer_id`.

    The empty peer id stands for the client.
    """

    def __init__(self, sender: PeerId, receiver: PeerId, detail: str) -> None:
        super().__init__(receiver or sender, detail, certain=False)
        self.sender = sender
        self.receiver = receiver


class ProtocolError(P2PInferError):
    """A peer sent what the protocol forbids."""


class InvalidReceiptError(ProtocolError):
    """A receipt that is forged, altered or malformed."""


class InvalidRecordError(ProtocolError):
    """A swarm record that is forged, stale or malformed."""


class InvalidTensorError(ProtocolError):
    """A tensor that breaks the session's contract."""
