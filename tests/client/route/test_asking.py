"""A search for a route waits for the answers that matter, and for nobody in particular. In virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import pytest

from p2pinfer.client.reach.pong import Pong
from p2pinfer.client.route.aim import Aim
from p2pinfer.client.route.directory import Directory
from p2pinfer.client.route.experience import ServerLife
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.client.route.prices import Work
from p2pinfer.client.route.shortage import Why
from p2pinfer.client.route.whom_to_ping import EVERYBODY, MOST_PINGED
from p2pinfer.errors import HopFailedError, NoRouteError
from p2pinfer.identity import Identity
from p2pinfer.swarm.coordinates.position import Position
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import Address, LayerSeconds, PeerId, Span
from tests.simulator.clock import Clock, VirtualLoop
from tests.swarm.conftest import MODEL, describe

T = TypeVar("T")
AWAY_SECONDS = 0.05
RECORD = describe(Identity.ephemeral(), num_layers=8, endpoints=("192.0.2.7:4600",))


class World:
    """A client, and servers of which only the records exist. Those in `silent` and `gone` answer no ping."""

    def __init__(self) -> None:
        self.records: list[Announcement] = []
        self.silent: set[PeerId] = set()  # they never answer
        self.gone: set[PeerId] = set()  # their machines refuse connections
        self.far: dict[PeerId, float] = {}  # round trips in seconds, where they aren't AWAY_SECONDS
        self.pinged: list[PeerId] = []
        self.position = Position()
        self.most_at_once = self._under_way = 0
        self._loop = VirtualLoop(Clock(), "client")
        self.directory = Directory(self, self, MODEL, 8, chance=random.Random(1).random)  # type: ignore[arg-type]

    def add(self, count: int, span: Span, name: str, *, seconds: float = 0.001) -> list[PeerId]:
        """Announce servers; they answer."""
        found = [PeerId(f"{name}-{span}-{number}") for number in range(count)]
        self.records += [
            dataclasses.replace(
                RECORD,
                peer_id=peer_id,
                certificate=peer_id.encode(),
                layers=span,
                decode=LayerSeconds(seconds),
                free_cache_tokens=1000,
            )
            for peer_id in found
        ]
        return found

    async def servers(self, model: str) -> list[Announcement]:
        return self.records

    async def ping(self, address: Address) -> Pong:
        self.pinged.append(address.peer_id)
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            if address.peer_id in self.silent:
                await asyncio.sleep(3600)
            if address.peer_id in self.gone:
                raise HopFailedError(address.peer_id, "connection refused")
            away = self.far.get(address.peer_id, AWAY_SECONDS)
            await asyncio.sleep(away)
        finally:
            self._under_way -= 1
        return Pong(away, 0, 10_000)

    def route(self, **options: Any) -> tuple[list[PeerId], float]:
        """Return the peers of the next route, and the seconds that the search waited."""
        began = self.now()
        route = self.run(self.directory.route(**options))
        return [server.hop.peer_id for server in route], self.now() - began

    def avoid(self, peer_id: PeerId, seconds: float) -> None:
        """Note what a session has met at a server."""

        async def note() -> None:
            life = ServerLife(peer_id, peer_id.encode())
            self.directory.experience.avoid(life, seconds, Why.BUSY)

        self.run(note())

    def keep_fresh(self, *, every_seconds: float, for_seconds: float) -> None:
        """Let a session be open for so long."""

        async def keep() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(for_seconds):
                    await self.directory.keep_fresh(every_seconds)

        self.run(keep())

    def now(self) -> float:
        return self._loop.time()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(seconds))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        task = self._loop.create_task(work)
        while not task.done():
            self._loop.clock.now = max(self._loop.clock.now, self._loop.due_at())
            self._loop.turn()
        return task.result()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.run(world.directory.close())


def kinds(peers: Iterable[PeerId]) -> set[str]:
    return {peer.partition("-")[0] for peer in peers}


def test_a_few_servers_are_all_pinged_and_the_search_waits_for_none_that_is_gone(world: World):
    here = world.add(EVERYBODY - 2, Span(0, 8), "here")
    world.silent.update(world.add(1, Span(0, 8), "silent"))
    world.gone.update(world.add(1, Span(0, 8), "gone"))
    _, seconds = world.route()
    assert sorted(world.pinged) == sorted(record.peer_id for record in world.records)
    assert len(here) == EVERYBODY - 2
    assert seconds == pytest.approx(0.5)


def test_of_many_servers_a_bounded_number_is_pinged_and_a_next_search_uses_the_answers(world: World):
    world.add(300, Span(0, 4), "front")
    world.add(300, Span(4, 8), "back")
    route, seconds = world.route()
    assert kinds(route) == {"front", "back"}
    assert seconds == pytest.approx(AWAY_SECONDS)
    assert len(world.pinged) == MOST_PINGED
    world.route()
    assert len(world.pinged) == MOST_PINGED  # all of them are fresh


def test_others_are_asked_at_once_in_the_place_of_servers_that_refuse_connections(world: World):
    world.gone.update(world.add(500, Span(0, 8), "gone", seconds=0.00001))
    world.add(100, Span(0, 8), "here")
    route, seconds = world.route()
    assert kinds(route) == {"here"}
    assert seconds < 0.3


def test_silent_servers_with_perfect_records_cost_a_search_a_bounded_time_and_later_ones_nothing(
    world: World,
):
    world.silent.update(world.add(500, Span(0, 8), "liar", seconds=0.00001))
    world.add(100, Span(0, 4), "front")
    world.add(100, Span(4, 8), "back")
    route, seconds = world.route()
    assert kinds(route) == {"front", "back"}
    assert seconds <= 1.5 + AWAY_SECONDS
    assert world.most_at_once <= 3 * MOST_PINGED
    waits = []
    for _ in range(5):
        world.wait(20.0)
        route, seconds = world.route()
        assert kinds(route) == {"front", "back"}
        waits.append(seconds)
    assert max(waits[1:]) == pytest.approx(AWAY_SECONDS)


def test_a_layer_with_one_holder_among_many_servers_is_found_as_a_last_resort(world: World):
    """It was silent a moment ago, so it is doubted."""
    world.add(200, Span(0, 4), "front")
    world.silent.update(only := world.add(1, Span(4, 8), "only"))
    world.silent.update(world.add(100, Span(4, 8), "liar"))
    with pytest.raises(NoRouteError):
        world.route()
    world.silent.difference_update(only)
    for _ in range(20):
        try:
            route, _ = world.route()
            break
        except NoRouteError:
            world.wait(1.0)
    assert kinds(route) == {"front", "only"}


def test_a_search_that_finds_nobody_ends_in_time_and_says_why(world: World):
    world.silent.update(world.add(700, Span(0, 8), "liar"))
    began = world.now()
    with pytest.raises(NoRouteError) as error:
        world.route()
    assert world.now() - began < 15.0
    assert "unreachable from here" in error.value.reason
    assert "not asked yet" in error.value.reason
    assert world.most_at_once <= 3 * MOST_PINGED


@pytest.mark.parametrize(
    ("work", "chosen"),
    [
        (Work(), "near"),
        (Work(rows=16), "quick"),
        (Work(aim=Aim.THROUGHPUT), "quick"),
    ],
)
def test_a_batch_and_documents_go_to_the_quicker_server_far_away(world: World, work: Work, chosen: str):
    world.add(2, Span(0, 8), "near", seconds=0.02)
    world.far.update(dict.fromkeys(world.add(2, Span(0, 8), "quick"), 0.4))
    route, _ = world.route(work=work, cache_tokens=100)
    assert kinds(route) == {chosen}


def test_a_refusal_is_forgotten_when_its_time_is_over(world: World):
    world.add(1, Span(0, 8), "slow", seconds=0.01)
    quick, *_ = world.add(1, Span(0, 8), "quick")
    world.avoid(quick, 2.0)
    assert kinds(world.route()[0]) == {"slow"}
    world.wait(2.1)
    assert kinds(world.route()[0]) == {"quick"}


def test_a_server_that_refuses_again_and_again_is_a_last_resort_for_a_while(world: World):
    """It says that it will have room at once; so it would be asked for ever."""
    slow, *_ = world.add(1, Span(0, 8), "slow", seconds=0.01)
    quick, *_ = world.add(1, Span(0, 8), "quick")
    for _ in range(2):
        world.avoid(quick, 0.001)
        world.wait(0.1)
    assert kinds(world.route()[0]) == {"slow"}
    world.records = [record for record in world.records if record.peer_id != slow]
    world.run(world.directory.refresh())
    assert kinds(world.route()[0]) == {"quick"}


def test_sessions_that_are_refused_at_the_same_time_count_as_one(world: World):
    world.add(1, Span(0, 8), "slow", seconds=0.01)
    quick, *_ = world.add(1, Span(0, 8), "quick")
    world.avoid(quick, 2.0)
    world.avoid(quick, 2.0)
    world.wait(2.1)
    assert kinds(world.route()[0]) == {"quick"}


@pytest.mark.parametrize(("servers", "at_most"), [(10, 10), (500, EVERYBODY)])
def test_replacements_are_kept_in_touch_with_all_of_a_few_and_some_of_many(
    world: World, servers: int, at_most: int
):
    """So that their channels are open, and those that are gone known, when a hop is lost."""
    world.add(servers, Span(0, 8), "here")
    world.route()
    world.pinged.clear()
    world.keep_fresh(every_seconds=15.0, for_seconds=35.0)
    assert world.pinged == []
    world.keep_fresh(every_seconds=15.0, for_seconds=16.0)
    assert 0 < len(world.pinged) <= at_most


def test_a_search_that_may_ask_nobody_yet_waits_until_it_may(world: World):
    """Other searches have asked as many silent servers as may be asked at a time."""
    world.silent.update(world.add(400, Span(0, 8), "silent", seconds=0.0001))

    async def search() -> list[HopServer]:
        others = [asyncio.create_task(world.directory.route()) for _ in range(4)]
        await asyncio.sleep(1.6)
        assert world.directory.experience.pings_under_way >= 192
        world.add(200, Span(0, 8), "here")
        try:
            return await world.directory.route()
        finally:
            for other in others:
                other.cancel()
            await asyncio.wait(others)

    assert kinds(server.hop.peer_id for server in world.run(search())) == {"here"}
