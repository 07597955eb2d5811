"""The claim on layers that a server makes before it has them, and repeats while it fetches and loads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from p2pinfer import __version__
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.door.listeners import Reachable
from p2pinfer.server.layers.announcing import Heartbeats, announce_first, withdraw
from p2pinfer.server.layers.layer_choice import LayerChoice
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import ending
from p2pinfer.types import PeerId


def joining_record(
    config: ServerConfig,
    peer_id: PeerId,
    manifest: Manifest,
    choice: LayerChoice,
    reachable: Reachable,
    holds_ends: Callable[[], bool],
    ends_at: Callable[[], float | None],
) -> Announcement:
    """The record of a server that is still loading: placement counts it, routes don't.

    Others that fetch the same layers find it by this record: they give each other what they have.
    """
    now = time.time()
    return Announcement(
        peer_id=peer_id,
        model=manifest.hash,
        model_name=manifest.name,
        num_layers=manifest.num_layers,
        layers=choice.layers,
        state=ServerState.JOINING,
        numerics=choice.lookout.numerics,
        is_undecided=not choice.is_settled,
        endpoints=reachable.endpoints,
        certificate=reachable.certificate.der,
        holds_ends=holds_ends(),
        leaves_at=ends_at(),
        version=__version__,
        public_name=config.public_name,
        region=config.region,
        announced_at=now,
        expires_at=now + config.record_seconds,
    )


@asynccontextmanager
async def claimed(
    swarm: Swarm, claim: Callable[[], Announcement], heartbeat_seconds: float
) -> AsyncIterator[asyncio.Future[None]]:
    """Announce the claim again and again, so that servers that join now choose other layers.

    Yields the task that announces: cancel it when another record takes the claim's place. If the block fails
    the server's record is withdrawn. A block that ends well has withdrawn it itself. Raises SwarmError if no
    peer keeps the claim.
    """
    await announce_first(swarm, claim)
    try:
        beats = Heartbeats(swarm, claim, heartbeat_seconds)
        async with ending(asyncio.create_task(beats.beat_forever())) as announcing:
            yield announcing
    except BaseException:
        await withdraw(swarm, claim())
        raise
