"""Identities ground to be nearer to a key than all honest nodes, and members that hold records back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from hivemind.dht.routing import DHTID
from hivemind.p2p import PeerID

from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.swarm.kademlia.place import place_of
from p2pinfer.swarm.kademlia.store import RecordStore, Stored
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.tasks import all_of
from scripts.benchmarks.discovery.town import Member

_AGAIN_SECONDS = 10.0


class Forgetful(RecordStore):
    """Says that it keeps every record, and has none."""

    def put(self, *args: Any, **options: Any) -> Stored:
        return Stored(refusal="", is_full=False, records=0)

    def live(self, *args: Any, **options: Any) -> list[Record]:
        return []


def distance(key: bytes, identity: Identity) -> int:
    """How far a node with this identity is from `key`."""
    place = place_of(PeerID(peer_id_to_bytes(identity.peer_id)), identity.proof)
    return int(DHTID.from_bytes(key).xor_distance(place))


def grind(key: bytes, honest: Collection[Identity], number: int) -> tuple[list[Identity], int]:
    """Make identities until so many are nearer to `key` than the nearest of the `honest`.

    Returns these, and how many were made. Each would have to be paid: the place follows from the proof. So
    this is for where identities are free.
    """
    nearest = min(distance(key, one) for one in honest)
    found: list[Identity] = []
    made = 0
    while len(found) < number:
        identity = Identity.ephemeral()
        made += 1
        if distance(key, identity) < nearest:
            found.append(identity)
    return found, made


def turn_hostile(gang: Sequence[Member]) -> None:
    """From now on they keep nothing, hand out nothing, and know nobody but each other."""
    ghosts = {member.node.node_id: member.node.peer_id for member in gang}

    def nearest(query: DHTID, k: int, exclude: DHTID | None = None) -> list[tuple[DHTID, PeerID]]:
        others = [(place, peer) for place, peer in ghosts.items() if place != exclude]
        return sorted(others, key=lambda other: int(query.xor_distance(other[0])))[:k]

    for member in gang:
        member.node.protocol.records = Forgetful()
        member.node.protocol.views = member.node.protocol.popular = None
        member.node.protocol.routing_table.get_nearest_neighbors = nearest


async def stay_known(gang: Sequence[Member]) -> None:
    """Ping every honest node that the gang has met, again and again, for ever."""
    while True:
        for member in gang:
            presence = member.swarm._membership.presence()
            peers = list(member.node.protocol.routing_table.peer_id_to_uid)
            await all_of(*(presence.run(member.node.protocol.clock_difference(peer)) for peer in peers))
        await asyncio.sleep(_AGAIN_SECONDS)
