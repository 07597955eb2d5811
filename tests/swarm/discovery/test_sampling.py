"""A page's reader samples a large swarm in a few reads, and doesn't tell who is near whom."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells import ranks
from p2pinfer.swarm.cells.climb import CAPACITY
from p2pinfer.swarm.cells.keys import keys_of_cell
from p2pinfer.swarm.cells.place import DEPTH, ROOT
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.discovery.sampling import PLACE_SECONDS, Sample, Sampling
from p2pinfer.swarm.kademlia.store import Stored
from p2pinfer.swarm.kademlia.validator import Record, read_record
from p2pinfer.swarm.records.announcement import Announcement, ServerState, encode
from p2pinfer.tasks import all_of
from p2pinfer.types import Span
from p2pinfer.wire.certificates import new_certificate

MODEL = "ab" * 32
CERTIFICATE = new_certificate().der
NOW = 1_750_000_000.0


@cache
def record(number: int, state: ServerState = ServerState.SERVING) -> Record:
    """A server of one of four layers, somewhere."""
    identity, chance = Identity.ephemeral(), random.Random(number)
    announcement = Announcement(
        peer_id=identity.peer_id,
        model=MODEL,
        model_name="model",
        num_layers=4,
        layers=Span(number % 4, number % 4 + 1),
        state=state,
        numerics="native",
        endpoints=() if state is ServerState.LEFT else ("127.0.0.1:9",),
        certificate=b"" if state is ServerState.LEFT else CERTIFICATE,
        cell=Quantized(x=chance.randrange(128), y=chance.randrange(128), height=1),
        announced_at=NOW,
        expires_at=NOW + 600.0,
    )
    return read_record(encode(announcement, identity))


class Crowd:
    """Keeps for each cell what its keepers do: everybody, or elders and the best ranks."""

    def __init__(self, records: Sequence[Record]) -> None:
        cells: defaultdict[str, list[Record]] = defaultdict(list)
        for one in records:
            for depth in range(DEPTH + 1):
                cells[one.place[:depth]].append(one)
        self._cell_of = {key: cell for cell in cells for key in keys_of_cell(MODEL, cell)}
        self._kept = {cell: kept(of_cell) for cell, of_cell in cells.items()}
        self.reads: list[str] = []

    async def get(self, keys: Sequence[bytes], *, shared: bool = False) -> list[Record]:
        cell = self._cell_of.get(keys[0], "nobody is there")
        self.reads.append(cell)
        return self._kept.get(cell, [])

    async def put(self, keys: Sequence[bytes], record: Record, *, shared: bool = False) -> list[Stored]:
        raise NotImplementedError


def kept(records: list[Record]) -> list[Record]:
    elders, others = records[: CAPACITY // 2], records[CAPACITY // 2 :]
    return [*elders, *sorted(others, key=rank)[: CAPACITY // 2]]


def rank(one: Record) -> float:
    return ranks.rank(one.peer_id, one.proof, one.tree, ranks.epoch_at(one.peer_id, NOW))


async def sampled(records: Sequence[Record]) -> tuple[Sample, Crowd]:
    crowd = Crowd(records)
    return await Sampling(crowd, now=lambda: NOW).sample(MODEL), crowd


async def test_of_a_swarm_of_nobody_there_is_nothing():
    sample, _ = await sampled([])

    assert sample.servers == () and sample.size.about == 0 and sample.size.is_counted


@pytest.mark.parametrize("servers", [1, 95, 110, 127])
async def test_a_small_swarm_is_seen_whole(servers: int):
    records = [record(number) for number in range(servers)]

    sample, _ = await sampled(records)

    assert {one.peer_id for one in sample.servers} == {one.peer_id for one in records}
    assert sample.from_everywhere == {one.peer_id for one in records}
    assert (sample.size.about, sample.size.is_counted) == (servers, True)


async def test_who_has_left_is_no_server():
    records = [record(number) for number in range(10)] + [record(10, ServerState.LEFT)]

    sample, _ = await sampled(records)

    assert len(sample.servers) == sample.size.about == 10


async def test_a_large_swarm_is_read_in_few_reads_and_its_size_is_told():
    records = [record(number) for number in range(600)]

    sample, crowd = await sampled(records)

    assert len(crowd.reads) <= 12  # two of the root, the way down, cells beside
    assert 300 < sample.size.about < 1200 and not sample.size.is_counted  # identities are drawn
    assert sample.from_everywhere == {one.peer_id for one in kept(records)}
    assert len(sample.servers) > len(sample.from_everywhere)
    assert {ROOT} < set(sample.cells) <= set(crowd.reads)
    assert any(size.is_counted for cell, size in sample.cells.items() if cell != ROOT)


async def test_two_may_look_at_a_swarm_that_has_just_grown():
    """Both found that a place has to be drawn, and the second failed."""
    few, many = (Crowd([record(number) for number in range(count)]) for count in (3, 600))
    network = SlowNetwork(few)
    sampling = Sampling(network, now=lambda: NOW)
    await sampling.sample(MODEL)
    network.crowd = many
    samples = await all_of(sampling.sample(MODEL), sampling.sample(MODEL))
    assert all(sample.from_everywhere for sample in samples)


class SlowNetwork(Crowd):
    """A crowd that may be another one, and answers a moment later."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd

    async def get(self, keys: Sequence[bytes], *, shared: bool = False) -> list[Record]:
        await asyncio.sleep(0)
        return await self.crowd.get(keys, shared=shared)


async def test_the_place_is_the_same_for_a_day_and_another_one_then():
    records = [record(number) for number in range(600)]
    crowd, now = Crowd(records), NOW
    chosen = iter([records[0], records[1]])
    sampling = Sampling(crowd, now=lambda: now, choose=lambda _: next(chosen))
    first = await sampling.sample(MODEL)
    crowd.reads.clear()
    assert await sampling.sample(MODEL) == first
    assert len(crowd.reads) == 1  # the own cell: the samples are fresh enough
    now += PLACE_SECONDS
    await sampling.sample(MODEL)

    assert all(records[0].place.startswith(cell[:-1]) for cell in first.cells)  # those beside as well
    assert any(cell and records[1].place.startswith(cell) for cell in crowd.reads)


async def test_a_small_swarm_that_grows_gets_a_place_at_the_next_look():
    few = Crowd([record(number) for number in range(3)])
    sampling = Sampling(few, now=lambda: NOW)
    await sampling.sample(MODEL)
    few.__dict__.update(Crowd([record(number) for number in range(600)]).__dict__)
    await sampling.sample(MODEL)

    sample = await sampling.sample(MODEL)

    assert len(sample.servers) > len(sample.from_everywhere)
