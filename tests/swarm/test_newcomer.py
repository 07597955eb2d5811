"""A member looks itself up under a throw-away identity."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.newcomer import MOST_DOORS, doors, is_found
from tests.swarm.conftest import MODEL, describe, join_here, node_of

OURS, THEIRS = Identity.ephemeral().peer_id, Identity.ephemeral().peer_id


def test_newcomers_join_through_others_afar_and_not_through_us_or_a_relay() -> None:
    assert doors({OURS: ["/ip4/192.0.2.1/tcp/1"]}, ours=OURS) == []
    assert doors({THEIRS: ["/p2p/12D3/p2p-circuit", "nonsense"]}, ours=OURS) == []
    known = {THEIRS: ["/ip4/127.0.0.1/tcp/1"], Identity.ephemeral().peer_id: ["/ip4/192.0.2.1/tcp/1"]}
    (door,) = doors(known, ours=OURS)
    assert door.startswith("/ip4/192.0.2.1/tcp/1/p2p/")


def test_of_many_only_a_few_are_asked() -> None:
    known = {Identity.ephemeral().peer_id: ["/ip4/192.0.2.1/tcp/1"] for _ in range(20)}
    assert len(doors(known, ours=OURS)) == MOST_DOORS


async def test_a_member_alone_knows_nobody_to_ask() -> None:
    async with join_here() as swarm:
        assert await is_found(swarm, MODEL) is None


async def test_a_server_learns_that_newcomers_are_not_shown_its_record() -> None:
    ours = Identity.ephemeral()
    async with join_here() as door, join_here(door.addresses, ours) as server:
        await server.announce(describe(ours))
        assert await is_found(server, MODEL)

        # The only other member shows the record to its owner alone, and the owner's own node is out of reach.
        protocol = node_of(door).protocol
        protocol._packed = lambda key, budget: b""
        protocol.records.live = lambda key: []
        protocol.views = None
        protocol.routing_table.get_nearest_neighbors = lambda *args, **options: []
        assert not await is_found(server, MODEL)


async def test_without_room_for_a_newcomer_nobody_looks_and_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, say: what only looked ended the server."""
    async with join_here() as door, join_here(door.addresses) as server:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        with pytest.raises(SwarmError, match="no room"):
            await is_found(server, MODEL)


async def test_a_record_that_is_kept_widely_is_at_more_members() -> None:
    ours = Identity.ephemeral()
    async with join_here() as door, join_here(door.addresses, ours) as server:
        node, asked = node_of(server), []
        find = node.find_nearest_nodes

        async def counted(keys: list[object], k_nearest: int, **options: object) -> object:
            asked.append(k_nearest)
            return await find(keys, k_nearest=k_nearest, **options)

        node.find_nearest_nodes = counted
        await server.announce(describe(ours))
        server.is_hidden = True
        await server.announce(describe(ours))
        assert max(asked[-2:]) > max(asked[:2])
