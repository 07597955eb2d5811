"""Whether a record that a client hands in fits as that of the next hop: decided before any dial. Pure."""

from __future__ import annotations

from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.wire.inference_pb2 import Terms
from p2pinfer.wire.opening import MAX_CLOCK_SKEW_SECONDS
from p2pinfer.wire.status import Reason, Refused

_SERVES = (ServerState.SERVING, ServerState.DRAINING)
"""One that drains takes no new session, but it keeps those that it has: a hop before it may be replaced."""


def check_next(record: Announcement, terms: Terms, now: float) -> None:
    """Raise Refused unless the record fits the session's terms. `now` is Unix seconds.

    As with openings, clocks may differ by a minute.
    """
    if terms.server == record.peer_id:
        raise _refused("it is this server itself")
    if record.expires_at + MAX_CLOCK_SKEW_SECONDS <= now:
        raise _refused("it has expired: read the swarm again")
    if record.state not in _SERVES:
        raise _refused("the server doesn't serve its layers")
    if record.model != terms.model:
        raise _refused("it is of another model")
    if record.numerics != terms.numerics:
        raise _refused("it is of another numerics class")
    if terms.end_layer not in record.layers:
        raise _refused(
            f"its layers {record.layers} don't continue those of this hop, which end at {terms.end_layer}"
        )


def _refused(why: str) -> Refused:
    return Refused(Reason.NEXT_HOP_UNREACHABLE, f"the next hop's record doesn't fit this session: {why}")
