"""Files come from peers, whole and right, whatever becomes of single peers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.errors import ModelError, SwarmError
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, layer_file
from p2pinfer.sharing.fetch.fetch import FetchSettings, next_look_seconds
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.fetch.progress import Progress
from p2pinfer.sharing.give.service import Limits, SharingService
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.status import Reason, Refused, errors_as_status
from p2pinfer.wire.traffic import DIRECT
from tests.sharing.peers import (
    MIB,
    QUICK,
    Always,
    Peers,
    Valve,
    all_bytes,
    empty_store,
    random_store,
    same_files,
)

LAYERS = (layer_file(0), layer_file(1))


async def test_one_peer_gives_all_files(peers: Peers, tmp_path: Path):
    """Nothing is received twice, and no part file is left."""
    model = random_store(tmp_path / "model", [5 * MIB + 7, MIB, 1])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)
    before = DIRECT.received_bytes

    summary = await joiner.fetch(seeder)

    assert same_files(model, joiner.store)
    assert summary.received_bytes == all_bytes(joiner)
    assert summary.received_by_peer == {seeder.peer_id: summary.received_bytes}
    assert summary.liars == ()
    assert joiner.holdings.holds(model.manifest.files)
    assert list(joiner.store.folder.rglob("*.part")) == []
    assert summary.received_bytes < DIRECT.received_bytes - before < 1.01 * summary.received_bytes


async def test_only_the_files_wanted_are_fetched(peers: Peers, tmp_path: Path):
    """A client's ends, for instance; and what is here already isn't asked for."""
    model = random_store(tmp_path / "model", [2 * MIB, MIB])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)

    first = await joiner.fetch(seeder, names=[CONFIG_FILE, ENDS_FILE])
    second = await joiner.fetch(seeder, names=[CONFIG_FILE, LAYERS[1]])
    third = await joiner.fetch(names=[LAYERS[1]])

    assert first.received_bytes == model.manifest.bytes_of((CONFIG_FILE, ENDS_FILE))
    assert (second.received_bytes, third.received_bytes) == (MIB, 0)
    assert not (joiner.store.folder / LAYERS[0]).exists()


async def test_several_peers_give_parts(peers: Peers, tmp_path: Path):
    """None of them has everything."""
    model = random_store(tmp_path / "model", [6 * MIB, 6 * MIB])
    halves = [await peers.add_empty(model) for _ in range(2)]
    whole = await peers.add(model)
    for half, name in zip(halves, LAYERS, strict=True):
        await half.fetch(whole, names=[name, CONFIG_FILE, ENDS_FILE])
    joiner = await peers.add_empty(model)

    summary = await joiner.fetch(*halves)

    assert same_files(model, joiner.store)
    assert summary.received_bytes <= 1.05 * all_bytes(joiner)
    assert all(summary.received_by_peer[half.peer_id] >= 6 * MIB for half in halves)


async def test_progress_is_told(peers: Peers, tmp_path: Path):
    """It grows to the whole, with a rate and who gave what."""
    model = random_store(tmp_path / "model", [8 * MIB])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)
    seen: list[Progress] = []

    await joiner.fetch(seeder, report=seen.append)

    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done) and done[0] == 0 and done[-1] == seen[-1].total_bytes == all_bytes(joiner)
    assert seen[-1].seconds_left == 0 and sum(seen[-1].received_by_peer.values()) == done[-1]


async def test_a_seeder_that_dies_half_way_is_replaced(peers: Peers, tmp_path: Path):
    """What it has given is kept."""
    model = random_store(tmp_path / "model", [16 * MIB])
    valve = Valve(free_bytes=5 * MIB)
    dying, other = await peers.add(model, gate=valve), await peers.add(model)
    joiner = await peers.add_empty(model)
    listed = [dying.holder]

    async def holders() -> list[Holder]:
        return listed

    fetching = asyncio.create_task(joiner.fetch(holders=holders))
    await valve.is_empty.wait()
    await dying.stop()
    listed.append(other.holder)
    summary = await fetching

    assert same_files(model, joiner.store)
    assert set(summary.received_by_peer) == {dying.peer_id, other.peer_id}
    assert summary.received_by_peer[other.peer_id] < all_bytes(joiner)


async def test_the_only_seeder_may_go_and_come_back(peers: Peers, tmp_path: Path):
    """At another address: after a new start its record has one."""
    model = random_store(tmp_path / "model", [8 * MIB])
    valve = Valve(free_bytes=3 * MIB)
    seeder, joiner = await peers.add(model, gate=valve), await peers.add_empty(model)
    fetching = asyncio.create_task(joiner.fetch(seeder))
    await valve.is_empty.wait()
    await seeder.stop()
    valve.open()
    await seeder.start()

    summary = await fetching

    assert same_files(model, joiner.store)
    assert summary.received_bytes < all_bytes(joiner) + 4 * MIB


async def test_the_seeders_own_disk_may_have_flipped_a_bit(peers: Peers, tmp_path: Path):
    """It notices, doesn't send it, and isn't called a liar; another peer has the chunk."""
    model = random_store(tmp_path / "model", [4 * MIB])
    damaged = random_store(tmp_path / "damaged", [4 * MIB])
    with (damaged.folder / LAYERS[0]).open("r+b") as file:
        file.write(b"another beginning")
    seeder, other = await peers.add(damaged), await peers.add(model)
    joiner = await peers.add_empty(model)

    summary = await joiner.fetch(seeder, other)

    assert same_files(model, joiner.store)
    assert summary.liars == () and summary.received_bytes <= 1.05 * all_bytes(joiner)


async def test_a_peer_that_gives_nothing_now_is_waited_for(peers: Peers, tmp_path: Path):
    """The owner's no has a time; the peer is asked again then."""
    model = random_store(tmp_path / "model", [2 * MIB])

    class Later(Valve):
        refusals = 0

        def may_begin(self) -> Refused | None:
            self.refusals += 1
            return Refused(Reason.NOT_SHARING, "not now", 0.1) if self.refusals < 3 else None

    gate = Later(10**9)
    seeder, joiner = await peers.add(model, gate=gate), await peers.add_empty(model)

    await joiner.fetch(seeder)

    assert same_files(model, joiner.store) and gate.refusals >= 3


async def test_a_busy_peer_is_asked_again(peers: Peers, tmp_path: Path):
    """It says when."""
    model = random_store(tmp_path / "model", [6 * MIB])
    limits = Limits(sending=1, waiting=0, retry_seconds=0.02)
    seeder, joiner = await peers.add(model, limits=limits), await peers.add_empty(model)

    await joiner.fetch(seeder)

    assert same_files(model, joiner.store)


async def test_without_any_peer_the_error_says_what_is_missing_and_who_was_asked(
    peers: Peers, tmp_path: Path
):
    """And that what came is kept."""
    model = random_store(tmp_path / "model", [MIB])
    other = await peers.add(random_store(tmp_path / "other", [MIB], seed=1))
    gone, joiner = await peers.add(model), await peers.add_empty(model)
    await gone.stop()

    with pytest.raises(SwarmError) as caught:
        await joiner.fetch(other, gone, settings=replace(QUICK, patience_seconds=2.0))
    text = str(caught.value)
    assert re.search(r"nothing has come for \d+ s of 3 files of random", text)
    assert "what has come is kept" in text
    assert other.peer_id[-6:] in text and "has the model" in text
    assert gone.peer_id[-6:] in text and "unreachable" in text

    with pytest.raises(SwarmError, match="nobody, no peer is known"):
        await joiner.fetch(settings=replace(QUICK, patience_seconds=0.1))


async def test_files_that_no_peer_offers_come_from_the_source(peers: Peers, tmp_path: Path):
    """One at a time, beside what comes from peers."""
    model = random_store(tmp_path / "model", [2 * MIB, 2 * MIB, MIB])
    partial = empty_store(tmp_path / "partial", model)
    seeder = await peers.add(partial)
    await seeder.fetch(await peers.add(model), names=[CONFIG_FILE, LAYERS[0]])
    joiner = await peers.add_empty(model)
    converted: list[str] = []

    async def convert(names: Sequence[str]) -> None:
        for name in names:
            converted.append(name)
            (joiner.store.folder / name).write_bytes((model.folder / name).read_bytes())

    summary = await joiner.fetch(seeder, otherwise=convert)

    assert same_files(model, joiner.store)
    assert sorted(converted) == [ENDS_FILE, LAYERS[1], layer_file(2)]
    assert summary.received_bytes == 100 + 2 * MIB
    assert list(joiner.store.folder.rglob("*.part")) == []


async def test_why_the_source_failed_is_told_if_peers_do_not_help(peers: Peers, tmp_path: Path):
    """It isn't asked again and again; a peer that comes later still helps."""
    model = random_store(tmp_path / "model", [MIB])
    joiner, seeder = await peers.add_empty(model), await peers.add(model)
    tries = 0

    async def convert(names: Sequence[str]) -> None:
        nonlocal tries
        tries += 1
        raise ModelError("the hub is gone")

    with pytest.raises(SwarmError, match="the source: the hub is gone"):
        await joiner.fetch(otherwise=convert, settings=replace(QUICK, patience_seconds=2.0))
    assert tries == 1

    await joiner.fetch(seeder, otherwise=convert)
    assert same_files(model, joiner.store) and tries == 1


async def test_a_swarm_that_can_not_be_read_is_read_again(
    peers: Peers, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """A look that fails is no end."""
    caplog.set_level(logging.INFO)
    model = random_store(tmp_path / "model", [MIB])
    seeder, joiner = await peers.add(model), await peers.add_empty(model)
    looks = 0

    async def holders() -> list[Holder]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise SwarmError("p2pd is starting again")
        return [seeder.holder]

    await joiner.fetch(holders=holders)

    assert same_files(model, joiner.store)


class Unwatched(SharingService):
    """Has no place for those who want to know what it holds."""

    async def WatchHoldings(self, request: pb.HoldingsRequest, context: Any) -> None:
        async with errors_as_status(context):
            raise Refused(Reason.BUSY, "too many", 0.1)


async def test_a_peer_that_has_no_place_for_watchers_gives_nevertheless(peers: Peers, tmp_path: Path):
    """It's asked for what it may hold; what it doesn't have comes from elsewhere."""
    model = random_store(tmp_path / "model", [2 * MIB, 2 * MIB])
    (tmp_path / "half").mkdir()
    half = random_store(tmp_path / "half" / "model", [2 * MIB, 2 * MIB])
    (half.folder / layer_file(1)).unlink()
    givers, held = [], [Holdings(half), Holdings(model)]
    for store, holdings in zip((half, model), held, strict=True):
        givers.append(await peers.add(store, service=Unwatched(store, holdings, Always())))
    joiner = await peers.add_empty(model)

    summary = await joiner.fetch(*givers)

    assert same_files(model, joiner.store) and summary.liars == ()
    for holdings in held:
        holdings.close()


async def test_while_nothing_comes_the_progress_says_why(peers: Peers, tmp_path: Path):
    """A person sees who was asked, long before the fetch fails."""
    model = random_store(tmp_path / "model", [MIB])
    joiner = await peers.add_empty(model)
    gone = await peers.add(model)
    await gone.stop()
    seen: list[Progress] = []

    with pytest.raises(SwarmError):
        await joiner.fetch(
            gone, report=seen.append, settings=replace(QUICK, stalled_seconds=0.1, patience_seconds=2.0)
        )

    assert seen[0].stalled is None
    assert seen[-1].stalled is not None
    assert seen[-1].stalled.startswith("nothing has come for ") and gone.peer_id[-6:] in seen[-1].stalled


def test_looks_become_rare_while_files_come():
    """Each of them reads the records of all servers, of which there may be a thousand."""
    settings = FetchSettings(look_seconds=5.0, most_look_seconds=60.0)
    pauses = [5.0]
    for _ in range(10):
        pauses.append(next_look_seconds(pauses[-1], True, settings))

    assert pauses[1] == 7.5 and pauses[-1] == 60.0
    assert next_look_seconds(60.0, False, settings) == 5.0
