"""Members with real nodes, where the DHT keeps nothing: whatever they know of each other, they were told."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.gossip import gossip
from p2pinfer.swarm.gossip_pb2 import GossipRequest
from p2pinfer.swarm.gossiping import GossipNetwork
from p2pinfer.swarm.kademlia.store import refused
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import all_of
from tests.swarm.conftest import MODEL, QUICK, describe, join_all, join_here, lose_p2pd, node_of, sees, until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "ROUND_SECONDS", 0.2)
    monkeypatch.setattr(gossip, "FIRST_ROUNDS_SECONDS", ())


async def announce(*members: Swarm) -> None:
    """Announce all of them to a DHT in which they, who are all, keep nothing and hear nothing."""
    for member in members:
        protocol = node_of(member).protocol
        protocol.keep = lambda key, record, source=None: refused("not near this key")
        protocol._store = lambda *request: refused("not near this key")
    for member in members:
        with pytest.raises(SwarmError, match="not near this key"):
            await member.announce(describe(member._identity))


async def all_see(members: Collection[Swarm], *identities: Identity) -> bool:
    """True if each of the members sees exactly these."""
    return all(await all_of(*(sees(member, *identities) for member in members)))


async def test_ten_members_see_each_other_though_the_last_knows_only_one_and_no_key_keeps_a_record() -> None:
    """So does a client that asks any of them."""
    identities = [Identity.ephemeral() for _ in range(10)]
    async with join_here(identity=identities[0]) as door:
        async with (
            join_all(*(join_here(door.addresses, one) for one in identities[1:9])) as others,
            join_here(others[3].addresses, identities[9]) as last,
        ):
            members = [door, *others, last]
            await announce(*members)
            await until(lambda: all_see(members, *identities), 30)
            async with join_here(last.addresses, client_only=True) as client:
                await until(lambda: sees(client, *identities), 30)


async def test_a_server_that_leaves_is_gone_at_once_for_those_that_it_exchanges_records_with() -> None:
    ours, theirs = Identity.ephemeral(), Identity.ephemeral()
    async with join_here(identity=theirs) as staying, join_here(staying.addresses, ours) as leaving:
        await announce(staying, leaving)
        await until(lambda: all_see((staying, leaving), ours, theirs), 30)
        await leaving.withdraw(describe(ours))
        assert await sees(staying, theirs)
        async with join_here(staying.addresses, client_only=True) as client:
            assert await sees(client, theirs)


async def test_members_go_on_when_p2pd_is_started_again() -> None:
    ours, theirs, third = (Identity.ephemeral() for _ in range(3))
    async with (
        join_here(identity=theirs, pace=QUICK) as door,
        join_here(door.addresses, ours, pace=QUICK) as member,
    ):
        await announce(door, member)
        await until(lambda: all_see((door, member), ours, theirs), 30)
        await lose_p2pd(member)
        await until(lambda: sees(member, ours, theirs), 30)
        async with join_here(door.addresses, third, pace=QUICK) as newcomer:
            await announce(door, member, newcomer)
            await until(lambda: sees(member, ours, theirs, third), 30)


async def test_a_member_that_serves_nothing_exchanges_nothing() -> None:
    ours = Identity.ephemeral()
    async with join_here() as plain, join_here(plain.addresses, ours) as server:
        await server.announce(describe(ours))
        await server._gossip.ask_next()
        assert server._gossip.table.entries() == []
        assert await sees(plain, ours)


async def test_who_is_dialled_to_be_asked_learns_of_the_asker() -> None:
    """One that was started again knows nobody: a connection without a greeting would hide that from us."""
    async with join_here() as asking, join_here() as started:
        network = GossipNetwork(asking._membership, asking._permission)
        await network.exchange(started.peer_id, started.addresses, GossipRequest(tree=MODEL))

        assert asking.peer_id in {
            peer.to_base58() for peer in node_of(started).protocol.routing_table.peer_id_to_uid
        }
