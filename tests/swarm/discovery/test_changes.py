"""Servers and readers of a swarm that changes under them: who is there is found, who has left isn't."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells import climb, descent
from p2pinfer.swarm.cells.climb import Climb
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.cells.place import ROOT, cell_of
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.discovery.discovery import Discovery
from p2pinfer.swarm.gossip.gossip import Gossip
from p2pinfer.swarm.kademlia.store import Stored
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.records.announcement import ServerState, decode
from p2pinfer.tasks import all_of
from p2pinfer.types import PeerId, Span
from tests.swarm.conftest import MODEL
from tests.swarm.discovery.shelves import Server, Shelves

SPLIT, MERGE = 12, 8
HERE, THERE = Quantized(x=3, y=3, height=0), Quantized(x=120, y=120, height=0)


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells split at 12 servers."""
    monkeypatch.setattr(climb, "SPLIT", SPLIT)
    monkeypatch.setattr(climb, "MERGE", MERGE)
    monkeypatch.setattr(descent, "FEW", 2)


class SlowShelves(Shelves):
    """Keepers whose answers are under way for a while."""

    async def put(self, keys: Sequence[bytes], record: Record, *, shared: bool) -> list[Stored]:
        answers = await super().put(keys, record, shared=shared)
        await asyncio.sleep(0)
        return answers


async def _sees(reader: Discovery, *servers: Server) -> bool:
    found = {server.peer_id for server in await reader.servers(MODEL)}
    return found >= {server.identity.peer_id for server in servers}


def _reader(shelves: Shelves, where: Quantized = HERE) -> Discovery:
    return Discovery(shelves, Identity.ephemeral(), lambda: where)


async def test_two_announcements_at_once_may_both_find_that_the_cell_is_crowded() -> None:
    """A heartbeat, and one that says where the server goes."""
    shelves = SlowShelves()
    for _ in range(SPLIT):
        await Server(shelves, HERE).announce()
    server = Server(shelves, HERE)
    await all_of(server.announce(), server.announce())

    assert server.discovery._tree(MODEL).climb == Climb(home=1, top=0)
    inside = await shelves.get(keys_of_cell(MODEL, cell_of(server.last.place, 1)))
    (own,) = [record for record in inside if record.peer_id == server.identity.peer_id]
    assert own.expires_at == server.discovery._newest_expiry[MODEL]


class HeldUp(Shelves):
    """Keepers that what is under way reaches only at the end of a block."""

    def __init__(self) -> None:
        super().__init__()
        self._road: asyncio.Event | None = None

    async def put(self, keys: Sequence[bytes], record: Record, *, shared: bool) -> list[Stored]:
        if self._road is not None:
            await self._road.wait()
        return await super().put(keys, record, shared=shared)

    @asynccontextmanager
    async def holding_up(self, work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
        """Begin `work`, and let it go on when the block ends, which itself isn't held up."""
        road = self._road = asyncio.Event()
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._road = None
        yield task
        road.set()
        await asyncio.wait({task})


def _with_gossip(shelves: Shelves) -> tuple[Server, Gossip]:
    server, gossip = Server(shelves), Gossip(NoNeighbours())
    server.discovery._gossip = gossip
    return server, gossip


class NoNeighbours:
    """A network for gossip in which nobody is reached."""

    def elders(self) -> Sequence[PeerId]:
        return ()

    async def exchange(self, *_: object) -> None:
        return None

    async def verified(self, *_: object, asked: bool) -> list[Record]:
        return []


def _told(gossip: Gossip) -> ServerState:
    assert gossip.table.own is not None
    return decode(gossip.table.own.record.data).state


async def test_an_announcement_that_is_overtaken_by_a_newer_one_changes_nothing() -> None:
    """A heartbeat that began to wait before the layers were loaded: neighbours heard that they aren't."""
    shelves = HeldUp()
    server, gossip = _with_gossip(shelves)
    async with shelves.holding_up(server.announce(state=ServerState.JOINING)) as heartbeat:
        newer = await server.announce()
    assert heartbeat.exception() is None  # our own newer record is no failure
    assert _told(gossip) is ServerState.SERVING
    assert await _reader(shelves).servers(MODEL) == [newer]


async def test_an_announcement_that_is_overtaken_by_the_tombstone_changes_nothing() -> None:
    """The server was told to its neighbours as one that is there, until the record expired."""
    shelves = HeldUp()
    server, gossip = _with_gossip(shelves)
    last = await server.announce()
    async with shelves.holding_up(server.announce()) as heartbeat:
        await server.discovery.withdraw(last)
    assert heartbeat.exception() is None
    assert _told(gossip) is ServerState.LEFT
    assert await _reader(shelves).servers(MODEL) == []


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
async def test_who_is_cut_short_when_it_moves_to_another_cell_is_gone_from_the_old_one(leaves: bool) -> None:
    """A heartbeat is cancelled when the server goes to other layers. Its old record lived on for a minute."""
    shelves = HeldUp()
    for _ in range(SPLIT):
        await Server(shelves, HERE).announce()
    server = Server(shelves, HERE)
    old = await server.announce()
    server.fields["cell"] = THERE
    async with shelves.holding_up(server.announce()) as heartbeat:
        heartbeat.cancel()
    if leaves:
        await server.discovery.withdraw(old)
    else:
        await server.announce()
    records = await shelves.get(keys_of_cell(MODEL, cell_of(old.place, 1)))
    (shown,) = [decode(record.data) for record in records if record.peer_id == server.identity.peer_id]
    assert shown.state is ServerState.LEFT


async def test_who_comes_back_to_a_swarm_that_has_shrunk_is_found_at_once() -> None:
    """A laptop that slept believes that the larger cells are full."""
    shelves = Shelves()
    server, other = Server(shelves, HERE), Server(shelves, HERE)
    await server.announce()
    server.discovery._tree(MODEL).climb = climb.arrived(3)
    shelves.stores.clear()
    await other.announce()
    await server.announce()

    assert await _sees(_reader(shelves), server, other)


async def test_who_moves_where_the_cells_are_larger_is_found_there_at_once() -> None:
    """There the keepers of a larger cell may have a place, whatever those did that it comes from."""
    shelves = Shelves()
    there = [Server(shelves, THERE) for _ in range(3)]
    for server in [*there, *(Server(shelves, HERE) for _ in range(SPLIT))]:
        await server.announce()
    mover = Server(shelves, HERE)
    await mover.announce()
    announcing = mover.discovery._tree(MODEL)
    announcing.climb, announcing._try_at = climb.arrived(3), time.time() + 300.0
    mover.fields["cell"] = THERE
    place = (await mover.announce()).place

    assert cell_of(place, 1) == cell_of(there[0].last.place, 1)
    found = {record.peer_id for record in await shelves.get(keys_of_cell(MODEL, cell_of(place, 1)))}
    assert mover.identity.peer_id in found


async def test_who_sees_that_most_have_left_doesnt_wait_to_ask_for_a_place_in_the_larger_cell() -> None:
    shelves = Shelves()
    server = Server(shelves, HERE)
    announcing = server.discovery._tree(MODEL)
    await server.announce()
    shelves.stores.clear()
    announcing.climb, announcing._try_at = climb.arrived(1), time.time() + 300.0
    await server.announce()
    assert announcing.climb.top == 1

    await server.discovery.servers(MODEL)
    await server.announce()
    assert await shelves.get(keys_of_cell(MODEL, ROOT))


async def test_a_root_that_isnt_crowded_any_more_is_read_each_time() -> None:
    """Some servers stay in the smaller cells, so readers who remember these go on reading them."""
    shelves = Shelves()
    servers = [Server(shelves, HERE) for _ in range(SPLIT + 3)]
    for server in [*servers, *servers]:
        await server.announce()
    reader = _reader(shelves)
    assert await _sees(reader, *servers)
    leaving, staying = servers[:6], servers[6:]
    for server in leaving:
        await server.discovery.withdraw(server.last)
    shelves.stores.clear()  # the tombstones have expired
    for server in staying:
        await server.announce()
    now = time.time() + 50.0
    reader._readings[MODEL]._now = lambda: now  # the sample of before is too old
    assert await _sees(reader, *staying)
    newcomer = Server(shelves, HERE)
    await newcomer.announce()

    assert await _sees(reader, newcomer)


async def test_who_waits_for_a_server_sees_it_when_it_comes_however_far_away() -> None:
    """A sample of a moment ago doesn't have it."""
    shelves = Shelves()
    servers = [Server(shelves, HERE, layers=Span(0, 10)) for _ in range(SPLIT + 3)]
    for server in [*servers, *servers]:
        await server.announce()
    reader = _reader(shelves)
    for _ in range(2):
        assert await _sees(reader, *servers)
    newcomer = Server(shelves, THERE, layers=Span(10, 30))
    await newcomer.announce()

    assert await _sees(reader, newcomer)
