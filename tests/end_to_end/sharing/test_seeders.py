"""Peers that give files are killed, refuse, or lie, and the joiner is: it gets its share nevertheless."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span, short_id
from tests.end_to_end.sharing.joining import (
    LEAVE_SECONDS,
    NAME,
    bytes_that_came,
    check_files,
    fetched,
    launch,
    ready,
    said,
    share_of,
    traffic_of,
    until,
)

LAYERS = Span(10, 16)
SERVED = Span(0, 1)  # by those that have the whole store
SLOW = 16.0  # Mbit/s: the share takes some 10 seconds


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def share_bytes(store: LayerStore) -> int:
    return store.manifest.bytes_of(tuple(share_of(LAYERS) & set(store.manifest.files)))


def joiner(swarm: LocalSwarm, cache: Path) -> ServerProcess:
    return launch(swarm, NAME, LAYERS, cache=cache)


def await_half(server: ServerProcess, cache: Path, store: LayerStore) -> int:
    """Wait until about half of the share is here; returns the bytes of it."""
    until(lambda: bytes_that_came(cache, store) >= 0.4 * share_bytes(store), server)
    return bytes_that_came(cache, store)


def received(swarm: LocalSwarm, server: ServerProcess) -> int:
    """The bytes that a server has exchanged with all others, when it has left."""
    server.signal(signal.SIGINT)
    assert server.wait(LEAVE_SECONDS), server.lines
    return traffic_of(swarm, server)[0]


def test_a_seeder_that_is_killed_half_way_is_replaced_and_nothing_is_fetched_twice(smollm2, cache):
    with LocalSwarm() as swarm:
        stays, goes = (launch(swarm, smollm2.folder, SERVED, mbit_per_s=SLOW) for _ in range(2))
        ready(stays), ready(goes)
        server = joiner(swarm, cache)
        await_half(server, cache, smollm2)
        goes.kill()
        assert server.seconds_to_ready is None, "half-way came too late"
        assert "layers 10:16 of 30" in ready(server)
        assert received(swarm, server) <= 1.15 * share_bytes(smollm2)
    check_files(cache, smollm2, LAYERS)


def test_the_only_seeder_may_go_then_the_joiner_and_each_goes_on_where_it_was(smollm2, cache):
    """Another peer of the swarm has the files and gives none: the joiner says so while it waits."""
    with LocalSwarm() as swarm:
        refuses = launch(swarm, smollm2.folder, SERVED, shares=False)
        ready(refuses)
        goes = launch(swarm, smollm2.folder, SERVED, mbit_per_s=SLOW)
        ready(goes)
        server = joiner(swarm, cache)
        await_half(server, cache, smollm2)
        goes.kill()
        assert server.seconds_to_ready is None, "half-way came too late"
        words = ("nothing has come for ", "the owner of this server gives no files to others")
        names = [short_id(peer_id) for peer_id in swarm.peer_ids[:2]]
        # On a busy machine nothing may come for a while before, too.
        until(lambda: any(all(one in line for one in (*words, *names)) for line in server.lines), server)
        kept = bytes_that_came(cache, smollm2)
        launch(swarm, smollm2.folder, SERVED, mbit_per_s=SLOW / 4)
        until(lambda: bytes_that_came(cache, smollm2) >= kept + 1_000_000, server)

        server.kill()
        kept = bytes_that_came(cache, smollm2)
        launch(swarm, smollm2.folder, SERVED)
        server = swarm.restart(2)
        assert "layers 10:16 of 30" in ready(server)
        lacked = share_bytes(smollm2) - kept
        assert received(swarm, server) <= lacked + 0.15 * share_bytes(smollm2) + 1_000_000
    check_files(cache, smollm2, LAYERS)


def test_a_seeder_that_flips_a_bit_is_named_and_dropped(smollm2, cache):
    """Also one whose disk does it: that one notices, and tells its owner."""
    with LocalSwarm() as swarm:
        honest = launch(swarm, smollm2.folder, SERVED, mbit_per_s=2 * SLOW)
        ready(honest)
        ready(launch(swarm, smollm2.folder, SERVED, program="tests.end_to_end.sharing.lying_server"))
        server = joiner(swarm, cache)
        assert short_id(swarm.peer_ids[1]) in said(server, "It is asked for nothing more")
        ready(server)
        assert sum("lied" in line for line in server.lines) == 1
    check_files(cache, smollm2, LAYERS)


def test_two_servers_of_one_machine_fetch_their_files_once_and_a_third_one_only_what_lacks(smollm2, cache):
    with LocalSwarm() as swarm:
        founder = launch(swarm, smollm2.folder, SERVED, mbit_per_s=2 * SLOW)
        ready(founder)
        twins = [joiner(swarm, cache) for _ in range(2)]
        for twin in twins:
            assert "layers 10:16 of 30" in ready(twin)
        check_files(cache, smollm2, LAYERS)

        twins[1].signal(signal.SIGINT)
        moved = launch(swarm, NAME, Span(12, 18), cache=cache)
        assert "layers 12:18 of 30" in ready(moved)
        assert any(line.startswith(f"fetching layers 16:18 of {NAME}: ") for line in moved.lines)
        LayerStore.open(fetched(cache, smollm2)).verify(Span(10, 18))
        founder.signal(signal.SIGINT)
        assert founder.wait(LEAVE_SECONDS)
        needed = smollm2.layer_bytes(Span(10, 18))
        assert needed <= traffic_of(swarm, founder)[1] <= 1.05 * needed + 1_000_000
