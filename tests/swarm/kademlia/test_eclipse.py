"""Identities that were ground to stand nearest to a key, and hold back what honest members keep there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hivemind.dht.routing import DHTID
from hivemind.p2p import PeerID

from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.swarm.cells.climb import CAPACITY, arrived
from p2pinfer.swarm.cells.keys import keys_of_cell, root_key
from p2pinfer.swarm.cells.place import ROOT
from p2pinfer.swarm.kademlia.node import REPLICAS
from p2pinfer.swarm.kademlia.place import place_of
from p2pinfer.swarm.kademlia.store import Stored
from p2pinfer.swarm.swarm import Swarm
from tests.swarm.conftest import MODEL, describe, join_all, join_here, node_of, sees

KEY = DHTID.from_bytes(root_key(MODEL))


def _distance(identity: Identity, key: DHTID) -> int:
    place = place_of(PeerID(peer_id_to_bytes(identity.peer_id)), identity.proof)
    return int(key.xor_distance(place))


def ground(honest: Sequence[Identity], count: int, key: DHTID = KEY) -> list[Identity]:
    """Identities nearer to the key than all the honest ones."""
    nearest, found = min(_distance(one, key) for one in honest), []
    while len(found) < count:
        if _distance(identity := Identity.ephemeral(), key) < nearest:
            found.append(identity)
    return found


def hold_back(member: Swarm) -> None:
    """Say yes to every record, keep none, and know nobody."""
    protocol = node_of(member).protocol
    protocol.keep = lambda key, record, source=None: Stored(refusal="", is_full=False, records=0)
    protocol._packed = lambda key, budget: b""
    protocol.views = None

    def nobody(*args: Any, **options: Any) -> list[Any]:
        return []

    protocol.routing_table.get_nearest_neighbors = nobody


async def test_a_newcomer_that_knows_one_honest_member_finds_servers_behind_ground_identities() -> None:
    """That member doesn't serve, and isn't the one through which the servers have joined."""
    first, server, plain = (Identity.ephemeral() for _ in range(3))
    hostile = ground((first, server, plain), REPLICAS)
    async with join_here(identity=first) as door:
        async with (
            join_all(*(join_here(door.addresses, one) for one in (server, plain))) as (serving, member),
            join_all(*(join_here(door.addresses, one) for one in hostile)) as attackers,
        ):
            for attacker in attackers:
                hold_back(attacker)
            await serving.announce(describe(server))
            async with join_here(member.addresses, client_only=True) as newcomer:
                assert await sees(newcomer, server)


async def test_what_a_member_is_told_by_an_anchor_is_checked_like_any_other_answer() -> None:
    """An anchor may lie: what it says it sees has to be signed by whom it is about."""
    ours, door_key = Identity.ephemeral(), Identity.ephemeral()
    async with join_here(identity=door_key) as door, join_here(door.addresses, ours) as server:
        await server.announce(describe(ours))
        protocol = node_of(door).protocol
        protocol.views = None
        genuine = protocol.records.get(KEY.to_bytes())
        protocol._kept = lambda key: [b"\x0a\x00", *(bytes(3) + data for data in genuine), *genuine]
        async with join_here(door.addresses, client_only=True) as reader:
            assert await sees(reader, ours)


async def test_keepers_that_say_full_drive_nobody_out_of_the_cell_where_readers_look() -> None:
    """All keepers of both keys say so. They have no records to show for it."""
    first, server = Identity.ephemeral(), Identity.ephemeral()
    hostile = [
        identity
        for key in keys_of_cell(MODEL, ROOT)
        for identity in ground((first, server), REPLICAS, DHTID.from_bytes(key))
    ]
    async with (
        join_here(identity=first) as door,
        join_here(door.addresses, server) as serving,
        join_all(*(join_here(door.addresses, one) for one in hostile)) as attackers,
    ):
        for attacker in attackers:
            hold_back(attacker)
            full = Stored(refusal="full", is_full=True, records=CAPACITY - 1)
            node_of(attacker).protocol.keep = lambda key, record, source=None, answer=full: answer
        for _ in range(2):
            await serving.announce(describe(server))
        assert serving._discovery._tree(MODEL).climb == arrived(0)
        async with join_here(door.addresses, client_only=True) as newcomer:
            assert await sees(newcomer, server)
