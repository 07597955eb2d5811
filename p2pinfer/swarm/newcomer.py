"""What somebody sees who is new to the swarm: a member looks itself up under a throw-away identity.

Whoever hides a member's record from others shows it to the member itself, if he knows who asks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.swarm.addresses import by_peer, is_loopback
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId

JOIN_SECONDS = 10.0
MOST_DOORS = 3
"""Members through which a newcomer joins."""


def doors(acquaintances: Mapping[PeerId, Sequence[str]], *, ours: PeerId) -> list[str]:
    """Full multiaddresses of a few acquaintances, by lot, through which a newcomer can join.

    Members on this machine only count where there are no others.
    """
    full: dict[PeerId, list[str]] = {}
    for peer_id, maddrs in acquaintances.items():
        for maddr in maddrs if peer_id != ours else ():
            address = maddr if "/p2p/" in maddr else f"{maddr}/p2p/{peer_id}"
            if "p2p-circuit" not in address and _is_joinable(address):
                full.setdefault(peer_id, []).append(address)
    afar = [peer_id for peer_id, found in full.items() if not all(map(is_loopback, found))]
    chosen = random.sample(pool := afar or list(full), min(MOST_DOORS, len(pool)))
    return [address for peer_id in chosen for address in full[peer_id]]


async def is_found(swarm: Swarm, model: str) -> bool | None:
    """True if a newcomer finds this member among the servers of a model; None if it knows nobody to ask.

    It takes a second, and another p2pd for that time. Raises SwarmError if nobody lets the newcomer in.
    """
    through = doors(swarm.acquaintances(), ours=swarm.peer_id)
    if not through:
        return None
    async with Swarm.join(
        through, Identity.ephemeral(), client_only=True, startup_timeout_seconds=JOIN_SECONDS
    ) as newcomer:
        return any(server.peer_id == swarm.peer_id for server in await newcomer.servers(model))


def _is_joinable(address: str) -> bool:
    try:
        by_peer([address])
    except UsageError:
        return False
    return True
