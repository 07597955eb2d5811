"""The errors of p2pinfer, in one tree. Each message says what happened and what to do about it.

P2PInferError
|- UsageError                    a flag, an argument or a call that can't work as given
|  |- PromptTooLongError         more tokens than the model or the session accepts
|  `- JobError                   a job of documents can't do this now, or isn't there
|- ModelError                    a model can't be read or converted
|  |- HubUnreachableError        the Hugging Face hub can't be asked now; it may have the model
|  |- UnsupportedModelError      the model isn't of a family that p2pinfer runs
|  |- UnusableModelError         what the swarm serves under a hash contradicts itself, or can't be run
|  `- StoreError                 a layer store is incomplete, altered or can't be written
|- DatabaseError                 a database file of p2pinfer can't be read or written
|  |- LedgerError                the ledger of signed work can't be read or written
|  `- JobStoreError              the file with the jobs, or a file that a job writes, can't be read or written
|- GrammarError                  the state of a grammar broke because of a fault in p2pinfer
|- EngineError                   the computing thread has ended because of a fault in p2pinfer
|- SwarmError                    the swarm as a whole can't serve
|  |- SwarmUnreachableError      no peer answers at the given addresses
|  |- PeerGoneError              a peer that was to be reached isn't there any more
|  |- RelayRefusedError          a relay doesn't do what it was asked for, and says why
|  `- NoRouteError               no reachable server holds some of the layers
|- RefusedError                  a server refused to open a session, and says why
|- HopFailedError                a server in use left, hung or broke the protocol
|  |- HopStalledError            it answers and doesn't do what it was asked for
|  |- HopLiedError               what it says of its work can't be true
|  `- LinkFailedError            two neighbours in a route live, but data between them don't arrive
`- ProtocolError                 a peer sent what the protocol forbids
   |- InvalidCertificateError    a peer's certificate is malformed or of another kind
   |- InvalidReceiptError        a receipt is forged, altered or malformed
   |- InvalidRecordError         a swarm record is forged, stale or malformed
   |  `- UnpaidRecordError       its signer hasn't paid for an identity
   `- InvalidTensorError         a tensor breaks the session's contract
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pinfer.plain_text import foreign, harmless
from p2pinfer.types import PeerId, Span, short_id

_MOST_CHARACTERS = 10_000


class P2PInferError(Exception):
    """The root of all errors that p2pinfer raises on purpose.

    No message of theirs controls a terminal or is without end, whoever wrote a part of it. What a peer says
    becomes one line of at most 300 characters where it is put into an error, see `plain_text.foreign`.

    If the error ends a generation early, `rows` holds the token ids of each sequence so far, prompt and
    answer.
    """

    rows: Sequence[Sequence[int]] | None = None

    def __init__(self, *words: object) -> None:
        super().__init__(*(_shown(word) if isinstance(word, str) else word for word in words))


class UsageError(P2PInferError, ValueError):
    """A flag, an argument or a call that can't work as given."""


class PromptTooLongError(UsageError):
    """The prompt has more tokens than the model or the session accepts."""


class JobError(UsageError):
    """A job of documents can't do this now, or isn't there.

    Its state has no such step, another process runs it, or what is to be kept isn't a document's.
    """


class ModelError(P2PInferError):
    """A model can't be read or converted."""


class HubUnreachableError(ModelError):
    """The Hugging Face hub can't be asked now, or breaks off. It may have the model."""


class UnsupportedModelError(ModelError):
    """The model isn't of a decoder family that p2pinfer runs."""


class UnusableModelError(ModelError):
    """What the swarm serves under a hash contradicts itself, or can't be run: it never will be."""


class StoreError(ModelError):
    """A layer store is incomplete, altered, or can't be written."""


class GrammarError(P2PInferError):
    """The state of a grammar broke because of a fault in p2pinfer: the text can't go on."""


class EngineError(P2PInferError):
    """The computing thread has ended because of a fault in p2pinfer: the server can't go on."""


class DatabaseError(P2PInferError):
    """A database file of p2pinfer can't be read or written."""


class LedgerError(DatabaseError):
    """The ledger of signed work can't be read or written."""


class JobStoreError(DatabaseError):
    """The file with the jobs of documents, or a file that a job writes, can't be read or written."""


class SwarmError(P2PInferError):
    """The swarm as a whole can't serve."""


class SwarmUnreachableError(SwarmError):
    """No peer answers at the given addresses."""


class PeerGoneError(SwarmError):
    """A peer is known to have left or ended: to try again in a moment makes no sense."""


class RelayRefusedError(SwarmError):
    """A relay doesn't do what it was asked for, and says why. Another relay may."""

    def __init__(self, peer_id: PeerId, detail: str, come_back_seconds: float = 0.0) -> None:
        """`come_back_seconds`: when asking again may help; 0.0 if that isn't known."""
        super().__init__(f"relay {short_id(peer_id)} refused: {foreign(detail)}")
        self.peer_id = peer_id
        self.come_back_seconds = come_back_seconds


SERVERS_TO_JOIN = "servers to join"
ROOM = "a server to have room"
LARGER_SERVERS = "larger servers to join"


class NoRouteError(SwarmError):
    """No reachable server with room holds some of the layers; `missing` names them.

    `reason` says what is known of the servers that announce them; empty: there are none. `waiting_for`
    is what would help.
    """

    def __init__(
        self,
        message: str,
        missing: tuple[Span, ...] = (),
        *,
        reason: str = "",
        waiting_for: str = SERVERS_TO_JOIN,
    ) -> None:
        super().__init__(message)
        self.missing = missing
        self.reason = harmless(reason)
        self.waiting_for = waiting_for

    @property
    def is_for_room(self) -> bool:
        """True if the layers are there, at servers without room."""
        return self.waiting_for == ROOM

    @property
    def is_for_size(self) -> bool:
        """True if the layers are there, at servers some of which are too small for the session."""
        return self.waiting_for == LARGER_SERVERS


class RefusedError(P2PInferError):
    """A server refused to open a session. `reason` is a word of `wire.status.Reason`."""

    def __init__(self, peer_id: PeerId, reason: str, detail: str, retry_after_seconds: float = 0.0):
        super().__init__(f"server {short_id(peer_id)} refused: {foreign(detail)}")
        self.peer_id = peer_id
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class HopFailedError(P2PInferError):
    """A server in use left, hung or broke the protocol.

    `certain` is False if the server may not be the cause: no message came in time, or its stream broke, and
    the network or another hop may have done that.
    """

    def __init__(self, peer_id: PeerId, detail: str, *, certain: bool = True) -> None:
        super().__init__(f"server {short_id(peer_id)} failed: {foreign(detail)}")
        self.peer_id = peer_id
        self.certain = certain


class HopStalledError(HopFailedError):
    """A server answers, and doesn't do what it was asked for.

    `is_shared` says that it may have waited for the server behind it.
    """

    def __init__(self, peer_id: PeerId, detail: str, *, is_shared: bool = False) -> None:
        super().__init__(peer_id, detail, certain=False)
        self.is_shared = is_shared


class HopLiedError(HopFailedError):
    """What a server says of its work can't be true, or it talks without end."""


class LinkFailedError(HopFailedError):
    """Two neighbours in a route live, but what `sender` sends to `receiver` doesn't arrive.

    The empty peer id means the client.
    """

    def __init__(self, sender: PeerId, receiver: PeerId, detail: str) -> None:
        super().__init__(receiver or sender, detail, certain=False)
        self.sender = sender
        self.receiver = receiver


class ProtocolError(P2PInferError):
    """A peer sent what the protocol forbids."""


class InvalidCertificateError(ProtocolError):
    """A peer's certificate is malformed, or of a kind that no peer makes."""


class InvalidReceiptError(ProtocolError):
    """A receipt is forged, altered or malformed."""


class InvalidRecordError(ProtocolError):
    """A swarm record is forged, stale or malformed."""


class UnpaidRecordError(InvalidRecordError):
    """The signer of a swarm record hasn't paid for its identity: honest nodes keep no such record."""


class InvalidTensorError(ProtocolError):
    """A tensor breaks the session's contract."""


def _shown(text: str) -> str:
    return harmless(text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…")
