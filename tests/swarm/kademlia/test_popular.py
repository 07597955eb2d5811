"""A node that is asked for a key again and again reads it too, and answers for its keepers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hivemind.dht.routing import DHTID
from hivemind.p2p import PeerID

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells import climb
from p2pinfer.swarm.cells.climb import SPLIT
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia import popular as popular_module
from p2pinfer.swarm.kademlia.popular import ASKED, MAX_COUNTED, MAX_TOLD, Popular
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.tasks import all_of
from tests.swarm.conftest import MODEL, describe, join_all, join_here, node_of

ONE = Record(peer_id=Identity.ephemeral().peer_id, data=b"", expires_at=1.0, tree="", place="", proof=b"")
CROWD = [ONE] * SPLIT


class Searches:
    """Stands for the node: counts what is searched for, and finds what the test says."""

    def __init__(self, found: Sequence[Record] = CROWD) -> None:
        self.keys: list[bytes] = []
        self.found = found
        self.error: Exception | None = None

    async def __call__(self, key: bytes) -> Sequence[Record]:
        self.keys.append(key)
        if self.error is not None:
            raise self.error
        return self.found


async def ask(popular: Popular, key: bytes, times: int = ASKED) -> Sequence[Record]:
    """So many ask, and one more when the search has ended."""
    for _ in range(times):
        popular.asked(key)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return popular.asked(key)


async def test_what_few_ask_for_is_left_to_its_keepers() -> None:
    popular = Popular(searches := Searches())

    assert not await ask(popular, b"key", ASKED - 2)
    assert not searches.keys


async def test_what_many_ask_for_is_searched_once_and_told() -> None:
    popular = Popular(searches := Searches())

    assert await ask(popular, b"key") == CROWD
    assert await ask(popular, b"key", 100) == CROWD
    assert searches.keys == [b"key"]


async def test_of_a_cell_that_isnt_crowded_nothing_is_told() -> None:
    """Who leaves it is gone at once: no node tells what it was told some seconds ago."""
    popular = Popular(Searches(CROWD[:-1]))

    assert not await ask(popular, b"key")


async def test_a_search_that_fails_tells_nothing_and_does_no_harm() -> None:
    popular = Popular(searches := Searches())
    searches.error = OSError("p2pd has ended")

    assert not await ask(popular, b"key")


async def test_who_asks_for_ever_new_keys_costs_a_search_now_and_then_and_bounded_memory() -> None:
    popular = Popular(searches := Searches())
    for number in range(2 * MAX_COUNTED):
        await ask(popular, b"%d" % number)

    assert len(searches.keys) == 1
    assert len(popular._keys) <= MAX_COUNTED


async def test_who_asks_for_ever_new_keys_keeps_no_crowd_from_being_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    popular = Popular(searches := Searches())
    await ask(popular, b"crowd")
    monkeypatch.setattr(popular_module, "FRESH_SECONDS", -1.0)
    popular._next_search_at = float("inf")  # others take each turn
    searches.keys.clear()
    popular._keys[b"crowd"].times = ASKED
    monkeypatch.setattr(popular._keys[b"crowd"], "since", float("inf"))
    await ask(popular, b"crowd", 1)

    assert searches.keys == [b"crowd"]


async def test_few_samples_are_kept_however_many_keys_are_popular(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular_module, "PAUSE_SECONDS", 0.0)
    popular = Popular(Searches())
    for number in range(3 * MAX_TOLD):
        assert await ask(popular, b"%d" % number)

    assert sum(bool(asked.found) for asked in popular._keys.values()) == MAX_TOLD


async def test_a_real_node_answers_for_the_keepers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climb, "SPLIT", 2)
    servers = [Identity.ephemeral() for _ in range(2)]
    key = root_key(MODEL)
    async with (
        join_here(identity=servers[0]) as first,
        join_all(
            join_here(first.addresses, servers[1]), join_here(first.addresses), join_here(first.addresses)
        ) as (second, on_the_way, reader),
    ):
        await all_of(first.announce(describe(servers[0])), second.announce(describe(servers[1])))
        node_of(on_the_way).protocol.records._records.clear()
        protocol, peer = node_of(reader).protocol, PeerID.from_base58(on_the_way.peer_id)
        presence = reader._membership.presence()
        for _ in range(200):
            answer = await presence.run(protocol.call_records(peer, [DHTID.from_bytes(key)]))
            records, _ = answer[DHTID.from_bytes(key)]
            if records:
                break
        assert {record.peer_id for record in records} == {one.peer_id for one in servers}
