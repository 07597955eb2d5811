"""Records of servers that don't exist: anybody can sign and publish them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia.validator import read_record
from p2pinfer.swarm.records.announcement import Announcement, ServerState, encode
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import Span

_LIFETIME_SECONDS = 500.0


async def announce_phantoms(
    swarm: Swarm, manifest: Manifest, layers: Span, identities: Sequence[Identity]
) -> None:
    """Publish one for each of these identities, which are paid: each second one claims to serve, the others
    to join.

    `swarm` is a member that keeps records, not a client.
    """
    now = time.time()
    for index, identity in enumerate(identities):
        record = Announcement(
            peer_id=identity.peer_id,
            model=manifest.hash,
            model_name=manifest.name,
            num_layers=manifest.num_layers,
            layers=layers,
            state=ServerState.SERVING if index % 2 else ServerState.JOINING,
            numerics="native-w8a8h64-1",
            announced_at=now,
            expires_at=now + _LIFETIME_SECONDS,
        )
        stored = read_record(encode(record, identity))
        answers = await swarm.put([root_key(manifest.hash)], stored)
        assert any(not answer.refusal for answer in answers)
