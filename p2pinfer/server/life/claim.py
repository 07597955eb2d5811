"""The claim on layers that a server makes before it loads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2pinfer import __version__
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life.announcing import announce_first, withdraw
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId, Span


def joining_record(
    config: ServerConfig, peer_id: PeerId, manifest: Manifest, layers: Span, *, now: float
) -> Announcement:
    """The record of a server that is still loading: placement counts it, routes don't."""
    return Announcement(
        peer_id=peer_id,
        model=manifest.hash,
        model_name=manifest.name,
        num_layers=manifest.num_layers,
        layers=layers,
        state=ServerState.JOINING,
        numerics="pending",
        version=__version__,
        public_name=config.public_name,
        region=config.region,
        announced_at=now,
        expires_at=now + config.record_seconds,
    )


@asynccontextmanager
async def claimed(swarm: Swarm, claim: Announcement) -> AsyncIterator[None]:
    """Announce the claim, so that servers that join now choose other layers.

    If the block fails the server's record is withdrawn. A block that ends well has withdrawn it itself.
    Raises SwarmError if no peer keeps the claim.
    """
    await announce_first(swarm, lambda: claim)
    try:
        yield
    except BaseException:
        await withdraw(swarm, claim)
        raise
