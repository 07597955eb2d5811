"""Which nodes a node remembers, passes on and asks: those that have paid, each at one place."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

import pytest
from hivemind.dht.routing import DHTID
from hivemind.p2p import P2PHandlerError, PeerID
from hivemind.proto import dht_pb2

from p2pinfer.errors import SwarmError
from p2pinfer.identity import SIGNATURE_BYTES, Identity, peer_id_to_bytes
from p2pinfer.price import proof as price
from p2pinfer.price.paying import find_proof
from p2pinfer.price.proof import PROOF_BYTES, is_paid, zero_bits
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia.place import introduction, place_of
from p2pinfer.swarm.kademlia.protocol import SwarmProtocol
from p2pinfer.swarm.record_pb2 import RecordSet, SignedRecord
from p2pinfer.swarm.records.announcement import encode
from p2pinfer.swarm.swarm import Swarm
from tests.swarm.conftest import MODEL, QUICK, describe, join_all, join_here, node_of


def peer_of(member: Swarm | Identity) -> PeerID:
    return PeerID(peer_id_to_bytes(member.peer_id))


def answer(*neighbours: tuple[bytes, bytes]) -> SimpleNamespace:
    """A node's answer, as far as its neighbours go: proofs and peer ids."""
    proofs, peers = zip(*neighbours, strict=True)
    return SimpleNamespace(nearest_node_ids=proofs, nearest_peer_ids=peers)


async def test_nodes_show_each_other_their_proofs_and_those_of_their_neighbours() -> None:
    async with join_here() as first, join_all(*(join_here(first.addresses) for _ in range(2))) as others:
        one, other = others
        found = await node_of(one).protocol.call_find(peer_of(first), [node_of(other).node_id])

        assert found is not None
        _, neighbours = found[node_of(other).node_id]
        assert neighbours == {node_of(other).node_id: peer_of(other)}
        assert next(iter(neighbours)).proof == bytes(PROOF_BYTES)


async def test_members_pay_by_themselves_before_they_join_and_readers_pay_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(price, "PRICE_BITS", 2)
    server, reader = Identity.ephemeral(), Identity.ephemeral()
    async with (
        join_here() as door,
        join_here(door.addresses, server) as member,
        join_here(door.addresses, reader, client_only=True) as looker,
    ):
        await member.announce(describe(server))

        assert is_paid(server.public_key, server.proof)
        assert [found.peer_id for found in await looker.servers(MODEL)] == [server.peer_id]
        assert reader.proof == b""


async def test_who_joins_at_nodes_of_another_version_is_told_both_versions() -> None:
    async with join_here() as old:
        node_of(old).protocol.node_info.node_id = bytes(20)

        for client_only in (False, True):
            with pytest.raises(SwarmError, match=r"speaks version 1 .*this program version 2: update"):
                async with join_here(old.addresses, pace=QUICK, client_only=client_only):
                    pass


@pytest.mark.parametrize(
    "words", [bytes(20), b"\x02\x0c" + bytes(PROOF_BYTES)], ids=["another-version", "another-price"]
)
async def test_a_node_that_cant_be_a_neighbour_is_forgotten(words: bytes) -> None:
    async with join_here() as first, join_here(first.addresses) as second:
        assert peer_of(second) in node_of(first).protocol.routing_table
        node_of(second).protocol.node_info.node_id = words

        await node_of(first).protocol.clock_difference(peer_of(second))

        assert peer_of(second) not in node_of(first).protocol.routing_table


async def test_a_node_stands_at_one_place_only() -> None:
    """It may pay twice. Then the second place replaces the first."""
    async with join_here() as first, join_here(first.addresses) as second:
        table = node_of(first).protocol.routing_table
        node_of(second).protocol.node_info.node_id = introduction(b"2nd paid")

        await node_of(second).protocol.clock_difference(peer_of(first))

        assert dict(table.uid_to_peer_id) == {place_of(peer_of(second), b"2nd paid"): peer_of(second)}


async def test_what_comes_after_an_unpaid_neighbour_isnt_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """An honest node passes on no unpaid one, and each check costs a millisecond."""
    one, other, unpaid = (Identity.ephemeral() for _ in range(3))
    proofs = await asyncio.gather(*(find_proof(peer.public_key, 4) for peer in (one, other)))
    monkeypatch.setattr(price, "PRICE_BITS", 4)
    paid = [(proof, peer_of(peer).to_bytes()) for proof, peer in zip(proofs, (one, other), strict=True)]

    found = SwarmProtocol._neighbours(answer(paid[0], (b"", peer_of(unpaid).to_bytes()), paid[1]))

    assert found == {place_of(peer_of(one), proofs[0]): peer_of(one)}


async def test_what_comes_after_an_unpaid_record_isnt_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise: no honest node keeps one. A record that is wrong in another way takes nobody else's place."""
    identities = [Identity.ephemeral() for _ in range(4)]
    for identity in identities:
        identity.proof = await find_proof(identity.public_key, 4)
    one, two, unpaid, last = identities
    unpaid.proof = bytes(PROOF_BYTES)
    while zero_bits(unpaid.public_key, unpaid.proof) >= 4:
        unpaid.proof = os.urandom(PROOF_BYTES)
    forged = SignedRecord.FromString(encode(describe(one), one))
    forged.signature = bytes(SIGNATURE_BYTES)
    values = [
        forged.SerializeToString(),
        *(encode(describe(identity), identity) for identity in (one, two, unpaid, last)),
    ]
    async with join_here() as member:
        monkeypatch.setattr(price, "PRICE_BITS", 4)
        found = node_of(member).protocol._verified(
            DHTID.from_bytes(root_key(MODEL)),
            SimpleNamespace(value=RecordSet(records=values).SerializeToString()),
        )

    assert [record.peer_id for record in found] == [one.peer_id, two.peer_id]


async def test_whoever_asks_is_answered_however_it_introduces_itself() -> None:
    """It only isn't remembered, and can't put words into what we say of those that we asked."""
    key = root_key(MODEL)
    async with join_here() as first, join_here(first.addresses, client_only=True) as asker:
        stub = node_of(asker).protocol.get_stub(peer_of(first))
        for words in (b"\x03", b"\x02\x0c" + bytes(PROOF_BYTES)):
            info = dht_pb2.NodeInfo(node_id=words)
            assert (await stub.rpc_ping(dht_pb2.PingRequest(peer=info), timeout=5)).dht_time > 0
            for ask in (stub.rpc_find, stub.rpc_view):
                assert len((await ask(dht_pb2.FindRequest(keys=[key], peer=info), timeout=5)).results) == 1

        assert node_of(first).protocol.foreign == ""
        assert peer_of(asker) not in node_of(first).protocol.routing_table


async def test_a_node_of_version_1_hears_that_it_cant_join_and_so_does_our_owner_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It doesn't look at our version: it would say that it is ready, and nobody would see it."""
    async with join_here() as first, join_here(first.addresses, client_only=True) as old:
        stub = node_of(old).protocol.get_stub(peer_of(first))
        for _ in range(2):
            with pytest.raises(P2PHandlerError, match=r"version 1 .*this program version 2: update"):
                await stub.rpc_ping(dht_pb2.PingRequest(peer=dht_pb2.NodeInfo(node_id=bytes(20))), timeout=5)

    assert caplog.text.count(f"a node can't join here: {old.peer_id} speaks version 1") == 1
