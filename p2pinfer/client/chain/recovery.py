"""What a client does when a hop says no, falls silent or breaks: decided here, acted on in session.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.errors import HopFailedError, LinkFailedError, P2PInferError, RefusedError
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason

FAILED_PEER_SECONDS = 20.0
"""How long a peer that broke the rules, or said no, gets no place in a route."""

DOUBTED_PEER_SECONDS = 20.0
"""How long a peer that may be innocent gets none if there is another. All are pinged before they get one,
which leaves out those that are gone."""

FAILED_LINK_SECONDS = 30.0
"""How long two peers between which nothing passes are not made neighbours, if there is another way."""

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
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """How to go on: find a route again, with the hops that are left."""

    replace: PeerId | None = None  # this hop, though it may live
    avoid: PeerId | None = None  # it gets no place for a while
    avoid_seconds: float = 0.0
    doubt: PeerId | None = None  # it gets one only if there is no other
    avoid_link: tuple[PeerId, PeerId] | None = None


def after_failure(error: P2PInferError) -> Remedy | None:
    """Say how to go on after this error, or None if another route would not help.

    A session that ended, because it was idle for too long or its server started anew, is simply opened
    again; an opening that a server finds badly signed or from another time is the client's own fault
    everywhere.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HopProgress:
    """Ids of the newest steps that a hop has received, computed, and handed to the network whole."""

    received: int
    computed: int
    sent: int


@dataclass(frozen=True, slots=True)
class Silent:
    """This hop does not answer."""

    hop: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """What hop `sender` has sent, the next one has not received; -1 is the client, as is what follows the
    last hop. That may be only for now: what is on its way has been sent and not received."""

    sender: int


@dataclass(frozen=True, slots=True)
class Working:
    """This hop has the step and isn't done with it."""

    hop: int


Verdict = Silent | Stuck | Working


def diagnose(step_id: int, hops: Sequence[HopProgress | None]) -> Verdict:
    """Say where an overdue step is, from what the hops of its route answer; None: no answer.

    A hop that answers nothing is to blame before anything else: what the others say about the step
    then only tells how far it got.
    """
    for index, progress in enumerate(hops):
        if progress is None:
            return Silent(index)
    for index, progress in enumerate(hops):
        assert progress is not None
        if progress.received < step_id:
            return Stuck(index - 1)
        if progress.computed < step_id:
            return Working(index)
        if progress.sent < step_id:
            return Stuck(index)
    return Stuck(len(hops) - 1)
