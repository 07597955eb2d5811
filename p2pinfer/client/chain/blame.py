"""Which peer, or which link between two peers, an error is about."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from p2pinfer.errors import HopFailedError, LinkFailedError, P2PInferError, RefusedError
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason


def blame(error: P2PInferError, index: int, hops: Sequence[PeerId]) -> P2PInferError:
    """Return the error that names the culprit, which may be another hop than `hops[index]` that reports it.

    A hop that finds its step wrong has it from the hop before. A hop that can't reach the next one speaks of
    the link between them.
    """
    if isinstance(error, RefusedError):
        if index > 0 and error.reason == Reason.BAD_STEP:
            return HopFailedError(hops[index - 1], f"it sent a wrong step: {error}")
        if index + 1 < len(hops) and error.reason == Reason.NEXT_HOP_UNREACHABLE:
            return LinkFailedError(hops[index], hops[index + 1], f"the hop before can't reach it: {error}")
    return error


async def blaming(work: Coroutine[Any, Any, None], index: int, peers: Sequence[PeerId]) -> None:
    """Do something at the hop `peers[index]`; an error names the peer that is to blame for it."""
    try:
        await work
    except P2PInferError as error:
        raise blame(error, index, peers) from error
