"""A node's own store may lag behind what the node has seen: that is no error."""

from __future__ import annotations

import asyncio
import time

import pytest
from hivemind.dht.node import Blacklist
from hivemind.p2p import PeerID

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity, peer_id_to_bytes
from p2pinfer.swarm.cells.keys import keys_of_cell, root_key
from p2pinfer.swarm.cells.place import cell_of
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.kademlia.node import KEEPERS_SECONDS, REPLICAS, RequestTimes, SwarmNode, _settle
from p2pinfer.swarm.kademlia.validator import read_record
from p2pinfer.swarm.records.announcement import encode
from p2pinfer.tasks import ending
from tests.swarm.conftest import MODEL, describe, join_here, node_of

KEY = root_key(MODEL)


async def test_a_kept_record_whose_successor_was_seen_elsewhere_is_left_out_and_the_others_stay() -> None:
    """The successor was stored while a link was cut, and another node has shown it since."""
    left_behind, other = Identity.ephemeral(), Identity.ephemeral()
    async with join_here() as swarm:
        protocol = node_of(swarm).protocol
        for identity in (left_behind, other):
            data = encode(describe(identity), identity)
            assert protocol.keep(KEY, protocol.record_validator.accept(KEY, data))
        successor = encode(describe(left_behind, expires_at=time.time() + 90), left_behind)
        protocol.record_validator.accept(KEY, successor)

        assert [server.peer_id for server in await swarm.servers(MODEL)] == [other.peer_id]


async def test_our_record_behind_one_that_was_seen_is_kept_nowhere_and_that_is_said() -> None:
    """Another machine with a copy of our key, whose clock is ahead."""
    ours = Identity.ephemeral()
    async with join_here(identity=ours) as swarm:
        node_of(swarm).protocol.record_validator.accept(
            KEY, encode(describe(ours, expires_at=time.time() + 90), ours)
        )
        with pytest.raises(SwarmError, match="keeps our record: a record older"):
            await swarm.announce(describe(ours))


@pytest.mark.parametrize("has_records", [True, False], ids=["a little each time", "nothing"])
async def test_no_crowd_of_slow_nodes_keeps_a_reader_for_ever(has_records: bool) -> None:
    progress = asyncio.Event()

    async def walk() -> None:
        while True:
            await asyncio.sleep(0.01)
            if has_records:
                progress.set()

    async with asyncio.timeout(30), ending(asyncio.create_task(walk())) as walking:
        await _settle({walking}, progress, RequestTimes(answer_seconds=0.1, settle_seconds=0.05))
        assert not walking.done()


async def test_where_all_keepers_of_a_key_are_gone_others_are_asked_in_the_same_call() -> None:
    """They were found a moment ago: at the next heartbeat would be too late."""
    ours = Identity.ephemeral()
    async with join_here() as first, join_here(first.addresses, ours) as server:
        node = node_of(server)
        gone = [PeerID(peer_id_to_bytes(Identity.ephemeral().peer_id)) for _ in range(REPLICAS)]
        until = asyncio.get_running_loop().time() + KEEPERS_SECONDS
        node.anchors = lambda shared: []
        node._known_keepers = {KEY: (gone, until)}
        record = read_record(encode(describe(ours), ours))

        answers = await node.put([KEY], record)
        assert [answer.refusal for answer in answers] == ["", ""]
        assert node_of(first).protocol.records.get(KEY) == [record.data]


async def test_where_a_server_was_before_it_moved_it_isnt_shown_by_who_knows_better() -> None:
    """A tombstone that comes after the record of the new place is refused: it is older."""
    mover, beside = Identity.ephemeral(), Identity.ephemeral()
    here, there = Quantized(x=3, y=3, height=0), Quantized(x=120, y=120, height=0)
    before = describe(mover, cell=here)
    after = describe(mover, cell=there, expires_at=before.expires_at + 1.0)
    old_key, _ = keys_of_cell(MODEL, cell_of(before.place, 1))
    async with join_here() as keeper, join_here(keeper.addresses) as reader:
        protocol = node_of(keeper).protocol
        protocol.keep(old_key, read_record(encode(before, mover)))
        protocol.keep(old_key, read_record(encode(describe(beside, cell=here), beside)))
        protocol.record_validator.accept(KEY, encode(after, mover))

        assert [record.peer_id for record in await reader.get([old_key])] == [beside.peer_id]


def test_of_those_that_never_answer_again_only_so_many_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """hivemind counts the failures of each for ever."""
    monkeypatch.setattr("p2pinfer.swarm.kademlia.node._MOST_COUNTED", 3)
    node = SwarmNode(_initialized_with_create=True)
    node.blacklist = Blacklist(5.0, 2.0)
    peers = [PeerID(number.to_bytes(8, "big")) for number in range(10)]
    for peer in peers:
        node._remember(peer, answered=False)
    assert list(node.blacklist.ban_counter) == peers[-3:]
    assert all(peer in node.blacklist for peer in peers)
