"""What a client does when a hop says no or falls silent: decided here, acted on in session.py."""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.errors import HopFailedError, P2PInferError, RefusedError
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason

FAILED_PEER_SECONDS = 20.0
"""How long a peer that failed stays out of routes, unless nothing else is left."""

UNCERTAIN_PEER_SECONDS = 1.0
"""The same when it may be innocent. All hops are pinged anew, which leaves out those that are gone: this
only gives the others a chance first, and if there are none, the same peer is asked again soon."""

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
    Reason.UNKNOWN_SESSION,
    Reason.LEAVING,
    Reason.BAD_STEP,
    Reason.FAILED,
}


@dataclass(frozen=True, slots=True)
class Reroute:
    """Open a new route without this peer (None: the same peers may serve again)."""

    avoid: PeerId | None
    avoid_seconds: float


def after_failure(error: P2PInferError) -> Reroute | None:
    """Say how to go on after this error, or None if another route would not help.

    A session that was idle for too long is simply opened again; an opening that a server finds
    badly signed or from another time is the client's own fault everywhere.
    """
    if isinstance(error, HopFailedError):
        return Reroute(error.peer_id, FAILED_PEER_SECONDS if error.certain else UNCERTAIN_PEER_SECONDS)
    if isinstance(error, RefusedError):
        if error.reason == Reason.IDLE:
            return Reroute(None, 0.0)
        if error.reason in _ASK_ELSEWHERE:
            return Reroute(error.peer_id, error.retry_after_seconds or FAILED_PEER_SECONDS)
    return None
