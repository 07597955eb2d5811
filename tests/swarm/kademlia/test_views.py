"""Members tell others what they see, at a bounded price."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from p2pinfer.fairness.sources import Source, source_of
from p2pinfer.identity import Identity
from p2pinfer.swarm.kademlia import views as module
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.kademlia.views import MAX_VIEWS, SEARCHES, TOLD_BYTES, Told, Views
from p2pinfer.types import PeerId

ASKER, OTHER = Identity.ephemeral().peer_id, Identity.ephemeral().peer_id
FOUND = Record(peer_id=OTHER, data=b"record", expires_at=1.0, tree="", place="", proof=b"")


class Searches:
    """Stands for the node: counts what is searched for, and finds one record."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, key: bytes) -> Sequence[Record]:
        self.keys.append(key)
        await self.may_end.wait()
        return [FOUND]


async def test_several_that_ask_at_the_same_time_wait_for_one_search() -> None:
    searches = Searches()
    searches.may_end.clear()
    views = Views(searches)
    asking = [asyncio.create_task(views.under(b"key", asker)) for asker in (ASKER, OTHER, ASKER)]
    await asyncio.sleep(0)
    searches.may_end.set()

    assert [list(await ask) for ask in asking] == [[FOUND]] * 3
    assert searches.keys == [b"key"]


async def test_one_that_stops_waiting_takes_nothing_from_the_others() -> None:
    searches = Searches()
    searches.may_end.clear()
    views = Views(searches)
    impatient = asyncio.create_task(views.under(b"key", ASKER))
    patient = asyncio.create_task(views.under(b"key", OTHER))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    searches.may_end.set()

    assert list(await patient) == [FOUND]


async def test_a_search_that_fails_has_found_nothing() -> None:
    async def search(key: bytes) -> Sequence[Record]:
        raise OSError("no network")

    assert await Views(search).under(b"key", ASKER) == ()


async def test_one_who_asks_for_ever_new_keys_soon_gets_no_searches_and_others_still_do() -> None:
    searches = Searches()
    views = Views(searches)
    for number in range(200):
        await views.under(b"key %d" % number, ASKER)

    assert len(searches.keys) == SEARCHES.per_key
    assert await views.under(b"key 300", ASKER) == ()
    assert list(await views.under(b"key 300", OTHER)) == [FOUND]


async def test_many_askers_together_get_so_many_searches_and_no_more() -> None:
    searches = Searches()
    views = Views(searches)
    for number in range(200):
        await views.under(b"key %d" % number, Identity.ephemeral().peer_id)

    assert len(searches.keys) == SEARCHES.in_all
    assert len(views._views) == MAX_VIEWS


async def test_a_crowd_from_one_network_leaves_searches_for_others() -> None:
    """A client's identity costs nothing."""
    searches = Searches()
    views = Views(searches)
    for number in range(200):
        await views.under(b"key %d" % number, Identity.ephemeral().peer_id, source_of("203.0.113.7"))

    assert len(searches.keys) == SEARCHES.per_source
    assert list(await views.under(b"key", OTHER, source_of("198.51.100.7"))) == [FOUND]


async def test_who_gets_no_search_is_told_what_was_found_a_moment_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    searches = Searches()
    views = Views(searches)
    for _ in range(200):
        assert list(await views.under(b"key", ASKER)) == [FOUND]

    assert len(searches.keys) == SEARCHES.per_key


async def test_one_who_draws_records_all_the_time_gets_no_more_and_its_network_leaves_some() -> None:
    told, networks = Told(), {OTHER: source_of("198.51.100.7")}

    async def network_of(peer: PeerId) -> Source | None:
        return networks.get(peer, source_of("203.0.113.7"))

    async def draw(peer: PeerId) -> int:
        guest, drawn = await told.asks(peer, network_of), 0
        while (room := min(500_000, told.room(guest))) >= 1_000:
            told.told(guest, room)
            drawn += room
        return drawn

    assert await draw(ASKER) <= 1.1 * TOLD_BYTES.per_key
    crowd = [await draw(Identity.ephemeral().peer_id) for _ in range(100)]
    assert sum(crowd) < 0.6 * TOLD_BYTES.in_all
    assert await draw(OTHER) >= TOLD_BYTES.per_key
