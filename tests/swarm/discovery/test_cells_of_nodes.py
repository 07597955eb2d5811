"""Cells between real nodes: eight servers that are too many for one cell."""

from __future__ import annotations

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells import climb
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.cells.place import ROOT
from p2pinfer.tasks import all_of
from p2pinfer.types import Span
from tests.swarm.conftest import MODEL, describe, join_all, join_here

SERVERS = 8


async def test_eight_servers_split_into_cells_and_all_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climb, "SPLIT", 5)
    monkeypatch.setattr(climb, "MERGE", 3)
    identities = [Identity.ephemeral() for _ in range(SERVERS)]
    async with (
        join_here(identity=identities[0]) as first,
        join_all(*(join_here(first.addresses, identity) for identity in identities[1:])) as others,
        join_here(first.addresses, client_only=True) as client,
    ):
        members = [first, *others]

        async def announce() -> None:
            servers = zip(members, identities, strict=True)
            await all_of(
                *(member.announce(describe(identity, layers=Span(0, 30))) for member, identity in servers)
            )

        for _ in range(2):
            await announce()
        homes = {member._discovery._tree(MODEL).climb.home for member in members}
        assert min(homes) > 0

        everybody = {identity.peer_id for identity in identities}
        for reader in (client, *members):
            found = {server.peer_id for server in await reader.servers(MODEL)}
            assert found == everybody  # the root has place for all of them yet
        assert len(client._discovery.sizes(MODEL)) > 1

        leaver = describe(identities[-1], layers=Span(0, 30))
        await members[-1].withdraw(leaver)
        for reader in (client, *members):
            found = {server.peer_id for server in await reader.servers(MODEL)}
            assert found == everybody - {identities[-1].peer_id}
        assert len(await client.get(keys_of_cell(MODEL, ROOT))) >= SERVERS - 1
