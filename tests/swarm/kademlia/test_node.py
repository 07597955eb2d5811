"""A node's own store may lag behind what the node has seen: that is no error."""

from __future__ import annotations

import asyncio
import time

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia.node import RequestTimes, _settle
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

    async with asyncio.timeout(5), ending(asyncio.create_task(walk())) as walking:
        await _settle({walking}, progress, RequestTimes(answer_seconds=0.1, settle_seconds=0.05))
        assert not walking.done()
