"""A server announces itself where its cell is, and a reader finds it there, however large the swarm."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from p2pinfer.errors import InvalidRecordError, SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.cells import climb, descent
from p2pinfer.swarm.cells.keys import MODELS, keys_of_cell, peer_key, root_key
from p2pinfer.swarm.cells.place import DEPTH, ROOT, cell_of, place_of
from p2pinfer.swarm.coordinates.quantized import ORIGIN, Quantized
from p2pinfer.swarm.discovery.announcing import sight_of
from p2pinfer.swarm.discovery.discovery import Discovery
from p2pinfer.swarm.discovery.reading import SAMPLE_SECONDS, Reading
from p2pinfer.swarm.kademlia.store import Stored, refused
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.records.announcement import ServerState, decode
from p2pinfer.types import Span
from tests.swarm.conftest import MODEL
from tests.swarm.discovery.shelves import Server, Shelves

HERE, THERE = Quantized(x=3, y=3, height=0), Quantized(x=120, y=120, height=0)


@pytest.fixture
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells split at 12 servers."""
    monkeypatch.setattr(climb, "SPLIT", 12)
    monkeypatch.setattr(climb, "MERGE", 8)
    monkeypatch.setattr(descent, "FEW", 2)


async def town(shelves: Shelves, here: int, there: int) -> list[Server]:
    """Servers in two places, settled."""
    servers = [Server(shelves, HERE if number < here else THERE) for number in range(here + there)]
    for _ in range(4):
        for server in servers:
            await server.announce()
    return servers


async def test_a_small_swarm_is_one_cell_under_two_keys() -> None:
    shelves = Shelves()
    servers = [Server(shelves) for _ in range(3)]
    for server in servers:
        await server.announce()

    own = {peer_key(server.identity.peer_id) for server in servers}
    assert set(shelves.puts) - own == {*keys_of_cell(MODEL, ROOT), *keys_of_cell("models", ROOT)}
    shelves.gets.clear()
    assert len(await servers[0].discovery.servers(MODEL)) == 3
    assert shelves.gets == list(keys_of_cell(MODEL, ROOT))


@pytest.mark.usefixtures("small_cells")
async def test_a_reader_finds_all_of_its_cell_and_some_of_the_others() -> None:
    shelves = Shelves()
    await town(shelves, 30, 8)
    reader = Discovery(shelves, Identity.ephemeral(), lambda: THERE)

    found = await reader.servers(MODEL)
    assert sum(server.cell == THERE for server in found) == 8
    assert any(server.cell == HERE for server in found)


@pytest.mark.usefixtures("small_cells")
async def test_a_reader_who_returns_reads_its_own_cell_and_samples_now_and_then() -> None:
    shelves = Shelves()
    await town(shelves, 40, 0)
    now = time.time()
    reading = Reading(shelves, MODEL, lambda: now)
    place = place_of(HERE, "reader")
    await reading.around(place)
    first = {record.peer_id for record in await reading.around(place)}

    shelves.gets.clear()
    assert {record.peer_id for record in await reading.around(place)} == first
    assert shelves.gets == list(keys_of_cell(MODEL, cell_of(place, reading.depth)))

    now += SAMPLE_SECONDS
    shelves.gets.clear()
    assert {record.peer_id for record in await reading.around(place)} == first
    assert 3 * 2 <= len(shelves.gets) <= 6 * 2  # the cells beside as well, if our own has few servers


@pytest.mark.usefixtures("small_cells")
async def test_servers_go_home_to_the_larger_cell_when_the_others_leave() -> None:
    shelves = Shelves()
    servers = await town(shelves, 16, 0)
    assert any(server.discovery._tree(MODEL).climb.home > 0 for server in servers)
    for server in servers[3:]:
        await server.discovery.withdraw(server.last)
    shelves.stores.clear()  # the tombstones have expired
    for _ in range(DEPTH):
        for server in servers[:3]:
            await server.announce()

    assert {server.discovery._tree(MODEL).climb for server in servers[:3]} == {climb.arrived(0)}


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize(
    ("servers_there", "answer"),
    [
        pytest.param(16, Stored(refusal="", is_full=False, records=0), id="few"),
        pytest.param(3, Stored(refusal="full", is_full=True, records=127), id="full"),
        pytest.param(3, Stored(refusal="", is_full=False, records=95), id="many"),
    ],
)
async def test_what_keepers_say_moves_nobody_unless_their_cell_shows_it(
    servers_there: int, answer: Stored
) -> None:
    """All but one lie, in every cell."""
    shelves = Shelves()
    servers = await town(shelves, servers_there, 0)
    tree = servers[0].discovery._tree(MODEL)
    before, put = tree.climb, shelves.put

    async def lie(keys: Sequence[bytes], record: Record, *, shared: bool) -> list[Stored]:
        honest, *others = await put(keys, record, shared=shared)
        return [honest, *(answer for _ in others)]

    shelves.put = lie  # type: ignore[method-assign]
    assert (before.home > 0) == (servers_there > 12)
    for _ in range(3):
        await servers[0].announce()
    assert tree.climb == before


@pytest.mark.usefixtures("small_cells")
async def test_who_leaves_is_gone_from_every_cell_at_once() -> None:
    """Also from those where it was announced before it moved to another."""
    shelves = Shelves()
    servers = await town(shelves, 16, 0)
    leaver = servers[0]
    places = {leaver.last.place}
    leaver.fields["cell"] = THERE
    places.add((await leaver.announce()).place)
    reader = Discovery(shelves, Identity.ephemeral(), lambda: THERE)
    assert leaver.identity.peer_id in {server.peer_id for server in await reader.servers(MODEL)}
    await leaver.discovery.withdraw(leaver.last)

    for place in places:
        for depth in range(DEPTH + 1):
            for record in await shelves.get(keys_of_cell(MODEL, cell_of(place, depth))):
                left = decode(record.data).state is ServerState.LEFT
                assert left == (record.peer_id == leaver.identity.peer_id)
    assert leaver.identity.peer_id not in {server.peer_id for server in await reader.servers(MODEL)}


async def test_who_moves_to_another_cell_is_missed_by_no_reader_meanwhile() -> None:
    """It may be the only one that has a layer."""
    shelves = Shelves()
    server = Server(shelves)
    await server.announce()
    reader = Discovery(shelves, Identity.ephemeral(), lambda: THERE)
    put, seen = shelves.put, []

    async def read_before(keys: Sequence[bytes], record: Record, *, shared: bool) -> list[Stored]:
        seen.append(await reader.servers(MODEL))
        stored = await put(keys, record, shared=shared)
        seen.append(await reader.servers(MODEL))
        return stored

    shelves.put = read_before  # type: ignore[method-assign]
    server.fields["cell"] = THERE
    moved = await server.announce()

    assert {one.peer_id for found in seen for one in found} == {server.identity.peer_id}
    assert all(len(found) == 1 for found in seen)
    assert [one.place for one in seen[-1]] == [moved.place]


@pytest.mark.usefixtures("small_cells")
async def test_a_reader_without_a_whole_route_reads_the_cells_beside() -> None:
    """The sample of the others is full of servers that hold the same layers."""
    shelves = Shelves()
    near = [Server(shelves, HERE, layers=Span(0, 10)) for _ in range(14)]
    for _ in range(3):
        for server in near:
            await server.announce()
    reader = Discovery(shelves, Identity.ephemeral(), lambda: HERE)
    await reader.servers(MODEL)

    read = set(shelves.gets)
    depth = reader._readings[MODEL].depth
    assert depth
    beside = sum(keys_of_cell(MODEL, cell)[0] in read for cell in reader.sizes(MODEL))
    assert beside >= 4
    assert len(reader.sizes(MODEL)) <= 10


async def test_the_reason_of_a_refusal_is_told_and_does_no_harm() -> None:
    shelves = Shelves()
    shelves.refusal = "your clock is \x1b[31mwrong\n" + "x" * 5000
    with pytest.raises(SwarmError, match="keeps our record: your clock") as raised:
        await Server(shelves).announce()
    assert "\x1b" not in str(raised.value) and len(str(raised.value)) < 1000


async def test_no_answer_at_all_is_an_error() -> None:
    shelves = Shelves()
    shelves.is_down = True
    with pytest.raises(SwarmError, match="keeps our record: the network is down"):
        await Server(shelves).announce()
    with pytest.raises(SwarmError, match="is the network down"):
        await Server(shelves).discovery.servers(MODEL)


async def test_a_model_that_is_no_hash_is_refused() -> None:
    with pytest.raises(InvalidRecordError):
        await Server(Shelves()).discovery.servers("smollm")


async def test_a_twin_is_noticed_wherever_it_is() -> None:
    shelves = Shelves()
    server = Server(shelves, HERE)
    await server.announce()
    assert not await server.discovery.has_twin()
    twin = Server(shelves, THERE)
    twin.identity = server.identity
    twin.discovery = Discovery(shelves, server.identity, lambda: THERE)
    await twin.announce(expires_at=time.time() + 310.0)

    assert await server.discovery.has_twin()


LIES = {"full": (10**9, True), "empty": (0, False)}


@pytest.mark.parametrize(
    ("answers", "records", "climbs", "stays"),
    [
        pytest.param([(5, False), (5, False), LIES["full"]], 5, True, True, id="a-liar-says-full"),
        pytest.param([(128, True), (128, True), LIES["empty"]], 128, False, False, id="a-liar-says-empty"),
        pytest.param([(5, False)] * 3 + [LIES["full"]] * 5, 10**9, False, True, id="most-are-liars"),
        pytest.param([(3, False)], 3, True, True, id="the-only-keeper"),
        pytest.param([(128, True)], 128, False, False, id="the-only-keeper-is-full"),
        pytest.param([(128, True), (128, False)], 128, False, False, id="half"),
    ],
)
def test_most_keepers_let_a_server_climb_and_a_few_let_it_stay(
    answers: list[tuple[int, bool]], records: int, climbs: bool, stays: bool
) -> None:
    said = [Stored(refusal="full" * is_full, is_full=is_full, records=count) for count, is_full in answers]
    assert sight_of(said, is_there=False) == climb.Sight(records=records, is_kept=climbs)
    assert sight_of(said, is_there=True) == climb.Sight(records=records, is_kept=stays)


def test_refusals_for_other_reasons_say_nothing_of_a_cell() -> None:
    assert sight_of([refused("a record of another key")] * 5, is_there=True) is None
    assert sight_of([], is_there=True) is None


async def test_keepers_that_say_full_drive_nobody_from_the_others() -> None:
    """Strangers have ground identities that stand at both keys; our anchors are honest."""
    shelves = Shelves()
    shelves.liars = 8
    servers = [Server(shelves) for _ in range(3)]
    for _ in range(5):
        for server in servers:
            await server.announce()

    assert {server.discovery._tree(MODEL).climb.top for server in servers} == {0}
    assert len(await Server(shelves).discovery.servers(MODEL)) == 3


@pytest.mark.usefixtures("small_cells")
async def test_a_newcomer_that_has_read_begins_where_it_arrived() -> None:
    shelves = Shelves()
    await town(shelves, 30, 0)
    newcomer = Server(shelves, HERE)
    await newcomer.discovery.servers(MODEL)
    shelves.puts.clear()
    await newcomer.announce()

    assert root_key(MODEL) not in shelves.puts
    assert len(shelves.puts) <= 2 * 3 + 1


def test_origin_is_where_everybody_begins() -> None:
    assert ORIGIN.height == 0 and ORIGIN.x == ORIGIN.y


async def test_a_popular_model_is_listed_in_few_cells_and_others_beside_it() -> None:
    """All its lines have one place: no number of cells would part them."""
    shelves = Shelves()
    popular = [Server(shelves) for _ in range(climb.CAPACITY)]
    for server in popular:
        await server.announce()
    rare = "cd" * 32
    await Server(shelves, model=rare).announce()

    assert {server.discovery._tree(MODELS).climb.home for server in popular} <= {0, 1}
    models = await Discovery(shelves, Identity.ephemeral(), lambda: ORIGIN).models()
    assert {listed.model for listed in models} == {MODEL, rare}


@pytest.mark.usefixtures("small_cells")
async def test_a_crowd_in_the_list_of_models_makes_nobody_read_it_again_and_again() -> None:
    """Its smallest cells can't split: that they are crowded moves nobody."""
    shelves = Shelves()
    servers = await town(shelves, 20, 0)
    shelves.gets.clear()
    for server in servers:
        await server.announce()

    assert not {key for cell in ("", *"0123") for key in keys_of_cell(MODELS, cell)} & set(shelves.gets)


async def test_a_server_whose_clock_is_set_back_by_an_hour_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its next record would have lived for an hour: the error that nobody expected ended the server."""
    shelves = Shelves()
    server, right = Server(shelves), time.time
    await server.announce()
    monkeypatch.setattr(time, "time", lambda: right() + 3600.0)
    await server.announce()
    shelves.stores.clear()  # others don't keep what seems to live for an hour
    monkeypatch.setattr(time, "time", right)
    stored = await server.announce()
    reader = Discovery(shelves, Identity.ephemeral(), lambda: HERE)
    assert await reader.servers(MODEL) == [stored]
    await server.discovery.withdraw(stored)
    assert await reader.servers(MODEL) == []
