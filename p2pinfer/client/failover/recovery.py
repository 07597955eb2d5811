"""What follows from a hop's refusal or failure. Pure: `replacements.py` acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pinfer.client.trust.reputation import Offence
from p2pinfer.errors import (
    HopFailedError,
    HopLiedError,
    HopStalledError,
    LinkFailedError,
    P2PInferError,
    RefusedError,
)
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason

FAILED_PEER_SECONDS = 20.0
"""How long a peer that broke the rules, or refused, gets no place in a route."""

DOUBTED_PEER_SECONDS = 20.0
"""How long a peer that may be innocent gets a place only as a last resort. Every peer is pinged before it
gets a place, so a peer that is gone is left out anyway."""

FAILED_LINK_SECONDS = 30.0
"""How long two peers are not made neighbours, if there is another way, after nothing passed between them."""

_ASK_ELSEWHERE = {
    Reason.CACHE_FULL,
    Reason.BUSY,
    Reason.DRAINING,
    Reason.WRONG_MODEL,
    Reason.WRONG_NUMERICS,
    Reason.WRONG_LAYERS,
    Reason.WRONG_SERVER,
    Reason.TOO_LONG,
    Reason.NEXT_HOP_UNREACHABLE,
    Reason.LEAVING,
    Reason.UNSIGNED,
    Reason.BAD_RECEIPT,
    Reason.BAD_STEP,
    Reason.BAD_OPENING,
    Reason.FAILED,
    Reason.NOT_HELD,  # these two answer requests for files; for a session they are nonsense
    Reason.NOT_SHARING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to change before the next route is searched. The hops that are not named stay."""

    replace: PeerId | None = None  # its hop is replaced, even if it still answers
    avoid: PeerId | None = None  # it gets no new place for `avoid_seconds`
    avoid_seconds: float = 0.0
    doubt: PeerId | None = None  # it gets a new place only as a last resort
    avoid_link: tuple[PeerId, PeerId] | None = None
    offence: Offence | None = None
    """What `replace` has done, to be remembered beyond the session."""
    suspects: Mapping[PeerId, float] = field(default_factory=dict)
    """Who took part, and may be the cause: see `Experience.suspect`."""


SUSPICION_OF_TWO = 0.5
"""For each end of a link that has failed: it takes two failures with different neighbours to be replaced."""

_SUSPICION_BESIDE_THE_CLIENT = 1.0
"""For the only server at a link that has failed: the client doesn't suspect itself."""

_SUSPICION_OF_ONE = 0.75
"""For who has lost a session: any other server is better, unless it is known."""


def after_failure(error: P2PInferError) -> Remedy | None:
    """Return how to go on after this error, or None if no other route would help.

    A session that ended, because it was idle for too long or because its server restarted, is opened again
    at the same server. An opening that a server finds badly signed, or from another time, is probably the
    client's own fault, and then every server refuses it; one server's word is no proof.
    """
    if isinstance(error, LinkFailedError):
        servers = [end for end in (error.sender, error.receiver) if end]
        weight = SUSPICION_OF_TWO if len(servers) > 1 else _SUSPICION_BESIDE_THE_CLIENT
        return Remedy(avoid_link=(error.sender, error.receiver), suspects=dict.fromkeys(servers, weight))
    if isinstance(error, HopFailedError):
        offence = None
        if isinstance(error, HopStalledError):
            offence = Offence.BUSY if error.is_shared else Offence.STALLED
        elif isinstance(error, HopLiedError):
            offence = Offence.LIED
        if not error.certain:
            return Remedy(replace=error.peer_id, doubt=error.peer_id, offence=offence)
        return Remedy(
            replace=error.peer_id,
            avoid=error.peer_id,
            avoid_seconds=FAILED_PEER_SECONDS,
            offence=offence,
        )
    if isinstance(error, RefusedError):
        if error.reason in (Reason.IDLE, Reason.UNKNOWN_SESSION):
            return Remedy(replace=error.peer_id, suspects={error.peer_id: _SUSPICION_OF_ONE})
        if error.reason in _ASK_ELSEWHERE:
            seconds = error.retry_after_seconds or FAILED_PEER_SECONDS
            return Remedy(replace=error.peer_id, avoid=error.peer_id, avoid_seconds=seconds)
    return None
