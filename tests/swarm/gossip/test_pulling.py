"""A reader asks members for a cell."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells import climb
from p2pinfer.swarm.discovery.discovery import Discovery
from p2pinfer.swarm.gossip.pulling import MEMBERS, pull, whom_to_ask
from p2pinfer.swarm.gossip_pb2 import GossipAnswer
from p2pinfer.swarm.kademlia.validator import Record, read_record
from p2pinfer.swarm.records.announcement import ServerState, encode
from scripts.benchmarks.discovery.cell import Cell
from scripts.benchmarks.discovery.town import MODEL as TREE
from tests.swarm.conftest import MODEL, describe
from tests.swarm.discovery.shelves import Server, Shelves
from tests.swarm.gossip.test_marks import entry

chance = random.Random(5).random


async def test_a_reader_that_knows_one_member_gets_the_cell_from_it_and_is_sent_nothing_twice() -> None:
    here = Cell()
    members = [here.member() for _ in range(6)]
    records = [member.announce() for member in members]
    members[0].gossip.heard(records)
    reader = here.member()

    found = await pull(reader, TREE, "", records[:1], chance)
    assert {record.peer_id for record in found} == set(here.members) - {
        members[0].identity.peer_id, reader.identity.peer_id
    }  # fmt: skip
    members[1].gossip.heard(records)
    for member in members[2:]:
        member.gossip.heard(records)
    assert await pull(reader, TREE, "", records, chance) == []


async def test_what_liars_answer_is_checked_and_whoever_fails_takes_nothing_from_the_others() -> None:
    here = Cell()
    members = [here.member() for _ in range(MEMBERS)]
    records = [member.announce() for member in members]
    unknown = here.member().record()
    members[0].gossip.heard([unknown])

    async def lie(*request: Any) -> GossipAnswer:
        return GossipAnswer(records=b"\xff" * 100)

    async def silence(*request: Any) -> None:
        return None

    members[1].answer, members[2].answer = lie, silence
    assert await pull(here.member(), TREE, "", records, chance) == [unknown]


def test_those_nearest_are_asked_and_one_of_the_others_and_none_that_has_left() -> None:
    def at(place: str, **said: object) -> Any:
        here = entry(**said)
        return replace(here, record=replace(here.record, place=place.ljust(16, "0")))

    near, far = [at("0123") for _ in range(3)], [at("3") for _ in range(3)]
    asked = whom_to_ask([*near, *far, at("0123", state=ServerState.LEFT)], "0123", chance)
    assert len(asked) == MEMBERS and sum(one in near for one in asked) >= MEMBERS - 1
    drawn = [whom_to_ask([*near, *far], "0123", chance)[-1] for _ in range(50)]
    assert any(one in far for one in drawn)
    assert whom_to_ask([], "0123", chance) == []


class Members:
    """Stands for the members of a cell, who know one more than its keys show."""

    def __init__(self) -> None:
        hidden = Identity.ephemeral()
        self.hidden = read_record(encode(describe(hidden), hidden))
        self.asked: list[str] = []

    async def pull(self, tree: str, cell: str, known: Collection[Record]) -> list[Record]:
        """What they tell."""
        assert tree == MODEL and known
        self.asked.append(cell)
        return [self.hidden]


async def test_a_reader_of_a_large_swarm_asks_members_for_its_cell_and_of_a_small_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(climb, "SPLIT", 12)
    shelves, members = Shelves(), Members()
    servers = [Server(shelves) for _ in range(20)]
    reader = Discovery(shelves, Identity.ephemeral(), servers[0].discovery._where, gossip=members)
    await servers[0].announce()
    assert len(await reader.servers(MODEL)) == 1 and members.asked == []
    for _ in range(4):
        for server in servers:
            await server.announce()
    found = await reader.servers(MODEL)
    assert members.hidden.peer_id in {server.peer_id for server in found}
    assert [cell for cell in members.asked if cell] == members.asked != []
