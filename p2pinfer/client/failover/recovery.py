"""What follows from a hop's refusal or failure. Pure: `replacements.py` acts on it."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.errors import HopFailedError, LinkFailedError, P2PInferError, RefusedError
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


def after_failure(error: P2PInferError) -> Remedy | None:
    """Return how to go on after this error, or None if no other route would help.

    A session that ended, because it was idle for too long or because its server restarted, is opened again
    at the same server. An opening that a server finds badly signed, or from another time, is the client's
    own fault: every server would refuse it.
    """
    if isinstance(error, LinkFailedError):
        return Remedy(avoid_link=(error.sender, error.receiver))
    if isinstance(error, HopFailedError):
        if not error.certain:
            return Remedy(replace=error.peer_id, doubt=error.peer_id)
        return Remedy(replace=error.peer_id, avoid=error.peer_id, avoid_seconds=FAILED_PEER_SECONDS)
    if isinstance(error, RefusedError):
        if error.reason in (Reason.IDLE, Reason.UNKNOWN_SESSION):
            return Remedy(replace=error.peer_id)
        if error.reason in _ASK_ELSEWHERE:
            seconds = error.retry_after_seconds or FAILED_PEER_SECONDS
            return Remedy(replace=error.peer_id, avoid=error.peer_id, avoid_seconds=seconds)
    return None
