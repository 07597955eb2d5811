"""The first connections of a member: initial peers and others, side by side; and its clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

from p2pinfer.errors import SwarmError
from p2pinfer.swarm.addresses import with_quic_beside
from p2pinfer.swarm.membership.daemon import Daemon
from p2pinfer.swarm.membership.presence import takes_connections
from p2pinfer.tasks import Nursery
from p2pinfer.types import PeerId

OTHERS_SECONDS = 3.0
"""Peers known before are waited for so long; and initial peers, once only such a peer has answered."""

MAX_CLOCK_DIFFERENCE_SECONDS = 20.0

_logger = logging.getLogger(__name__)


async def contact(
    daemon: Daemon,
    initial: Mapping[PeerId, Collection[str]],
    others: Mapping[PeerId, Collection[str]],
    *,
    most_seconds: float,
    settle_seconds: float,
) -> set[PeerId]:
    """Connect to all side by side, until one answers and the rest had a moment to. Returns who answered.

    Initial peers have `settle_seconds` after the first of them, and OTHERS_SECONDS after the first of the
    others: a stranger that answers fast doesn't keep us from those whom the user has named.
    """

    async def connect(peer_id: PeerId) -> PeerId | None:
        addresses = initial.get(peer_id) or others[peer_id]
        seconds = most_seconds if peer_id in initial else min(most_seconds, OTHERS_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                if peer_id not in initial and not await takes_connections(addresses):
                    return None
                transports = [address.partition("/p2p/")[0] for address in with_quic_beside([*addresses])]
                await daemon.connect(peer_id, transports, seconds)
        except (SwarmError, TimeoutError) as error:
            _logger.debug("no peer to join through: %s", error)
            return None
        return peer_id

    answered: set[PeerId] = set()
    now = asyncio.get_running_loop().time
    until = now() + most_seconds
    async with Nursery() as nursery:
        tasks = {nursery.start(connect(peer_id)): peer_id for peer_id in {**initial, **others}}
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=max(until - now(), 0.0), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            answered |= {peer_id for task in done if (peer_id := task.result()) is not None}
            if answered:
                waits_for_initial = any(tasks[task] in initial for task in pending)
                is_enough = bool(answered & initial.keys()) or not waits_for_initial
                until = min(until, now() + (settle_seconds if is_enough else OTHERS_SECONDS))
    return answered


def check_clock(seconds_ahead: float) -> None:
    """Raise SwarmError if the clock is far off.

    Records live for a minute: ours would have expired when they are made, or those of others would seem to.
    """
    if abs(seconds_ahead) > MAX_CLOCK_DIFFERENCE_SECONDS:
        direction = "behind" if seconds_ahead > 0 else "ahead of"
        raise SwarmError(
            f"this machine's clock is {abs(seconds_ahead):.0f} s {direction} the swarm's: set it, then retry"
        )
