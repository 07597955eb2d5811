"""Which peer, or which link between two peers, an error is about."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from p2pinfer.errors import LinkFailedError, P2PInferError, RefusedError
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason


def blame(error: P2PInferError, index: int, hops: Sequence[PeerId]) -> P2PInferError:
    """Return the error that names the culprit, which may be another hop than `hops[index]` that reports it.

    A hop that finds its step wrong has it from the hop before, or says so: nobody can tell which of the two
    is wrong. So it speaks of the link between them, as a hop does that can't reach the next one.
    """
    if isinstance(error, RefusedError):
        if index > 0 and error.reason == Reason.BAD_STEP:
            return LinkFailedError(hops[index - 1], hops[index], f"it is said to bring wrong steps: {error}")
        if index + 1 < len(hops) and error.reason == Reason.NEXT_HOP_UNREACHABLE:
            return LinkFailedError(hops[index], hops[index + 1], f"the hop before can't reach it: {error}")
    return error


async def blaming(work: Coroutine[Any, Any, None], index: int, peers: Sequence[PeerId]) -> None:
    """Do something at the hop `peers[index]`; an error names the peer that is to blame for it."""
    try:
        await work
    except P2PInferError as error:
        raise blame(error, index, peers) from error
