"""What the page knows about the swarm, and since when. The test decides what swarm and servers say."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.errors import DatabaseError, HopFailedError, SwarmError, UsageError
from p2pinfer.health import watcher as watching
from p2pinfer.health.config import HealthConfig
from p2pinfer.health.kept.history import History
from p2pinfer.health.kept.keeping import keeping
from p2pinfer.health.snapshot.source import Submission
from p2pinfer.health.snapshot.state import Answer, ProbeView
from p2pinfer.health.watcher import Watcher
from p2pinfer.identity import Identity
from p2pinfer.swarm.discovery.sampling import Sample
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.tasks import ending
from p2pinfer.types import Address, LayerSeconds, Span
from tests.health.samples import whole
from tests.swarm.only_endpoints import OnlyEndpoints

MODEL = "ab" * 32
NOW = 1_800_000_000.0
LISTING = ModelListing(model=MODEL, model_name="small", num_layers=4)


def server(layers: Span, **changes: Any) -> Announcement:
    """A server that announced a moment ago that it serves."""
    fields: dict[str, Any] = {
        "peer_id": Identity.ephemeral().peer_id,
        "model": MODEL,
        "model_name": "small",
        "num_layers": 4,
        "layers": layers,
        "state": ServerState.SERVING,
        "numerics": "n-1",
        "endpoints": ("192.0.2.7:4600",),
        "certificate": b"c",
        "announced_at": NOW,
        "expires_at": NOW + 60,
    }
    return Announcement(**(fields | changes))


@dataclass
class World:
    """A swarm, a clock, and the servers that answer pings."""

    now: float = NOW
    servers: list[Announcement] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    pinged: list[str] = field(default_factory=list)
    lost: bool = False

    async def models(self) -> list[ModelListing]:
        if self.lost:
            raise SwarmError("nobody answers at 192.0.2.9:4001")
        return [LISTING] if self.servers else []

    async def sample(self, model: str) -> Sample:
        return whole([one for one in self.servers if one.expires_at > self.now])

    async def ping(self, address: Address) -> float:
        self.pinged.append(address.peer_id)
        if address.peer_id in self.silent:
            raise HopFailedError(address.peer_id, "it is gone", certain=False)
        return 0.01


@dataclass
class Scene:
    world: World
    watcher: Watcher

    async def look(self, seconds: float = 4.0) -> None:
        """A little later."""
        self.world.now += seconds
        swarm: Any = type("Swarm", (), {"models": self.world.models, "sample": self.world.sample})()
        await self.watcher.look(swarm, self.world.ping)

    @property
    def answer(self) -> Answer:
        return self.watcher.state().models[0].answer

    @property
    def peers(self) -> set[str]:
        return {one.peer_id for one in self.watcher.state().models[0].servers}


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    world = World()
    config = HealthConfig.from_args(["--initial-peers", "/ip4/192.0.2.9/tcp/4001/p2p/x"])
    config = replace(config, refresh_seconds=0.01)
    with keeping(tmp_path, config.initial_peers) as (history, contributions):
        yield Scene(world, Watcher(config, history, contributions, now=lambda: world.now))


async def test_before_the_swarm_was_read_the_page_says_so(scene):
    state = scene.watcher.state()
    assert not state.fresh
    assert "hasn't been read" in state.detail
    assert state.models == ()


async def test_what_servers_announce_is_shown(scene):
    scene.world.servers = [server(Span(0, 2)), server(Span(2, 4))]
    await scene.look()
    assert scene.answer is Answer.THIN
    assert scene.watcher.state().fresh
    await scene.look()
    assert len(scene.world.pinged) == len(scene.peers)  # punctual servers get one ping


async def test_a_late_and_silent_server_is_gone_before_its_record_expires(scene):
    """It was killed, and sent no last announcement."""
    lost, well = server(Span(0, 2)), server(Span(2, 4))
    scene.world.servers = [lost, well]
    await scene.look()
    scene.world.silent.add(lost.peer_id)
    scene.world.servers[1] = replace(well, announced_at=NOW + 15)
    await scene.look(20)
    assert scene.world.pinged[2:] == [lost.peer_id]
    assert scene.peers == {well.peer_id}
    assert scene.answer is Answer.NO


async def test_a_late_server_that_answers_stays_and_is_not_pinged_all_the_time(scene):
    late = server(Span(0, 4))
    scene.world.servers = [late]
    await scene.look(20)
    await scene.look(4)
    assert scene.world.pinged == [late.peer_id]
    assert scene.peers == {late.peer_id}


async def test_since_when_is_counted_without_a_break(scene):
    one, other = server(Span(0, 4)), server(Span(0, 4))
    scene.world.servers = [one, other]
    await scene.look(4)
    scene.world.servers = [one]
    await scene.look(4)
    scene.world.servers = [one, other]
    await scene.look(4)
    since = {view.peer_id: view.since for view in scene.watcher.state().models[0].servers}
    assert since == {one.peer_id: NOW + 4, other.peer_id: NOW + 12}


async def test_a_swarm_that_cannot_be_read_for_a_moment_is_no_news_but_soon_it_is(scene):
    scene.world.servers = [server(Span(0, 4), expires_at=NOW + 599)]
    await scene.look()
    scene.watcher.note_trouble("nobody answers at 192.0.2.9:4001")
    assert scene.watcher.state().fresh
    scene.world.now += 40
    scene.watcher.note_trouble("nobody answers at 192.0.2.9:4001")
    state = scene.watcher.state()
    assert not state.fresh
    assert "nobody answers" in state.detail
    assert "192.0.2.9" not in state.detail
    assert len(state.models) == 1  # what was known is still shown


async def test_waiting_for_a_newer_snapshot_gets_it(scene):
    scene.world.servers = [server(Span(0, 4))]
    waiting = asyncio.create_task(scene.watcher.wait_newer(scene.watcher.state().generated_at))
    await asyncio.sleep(0)
    assert not waiting.done()
    await scene.look()
    assert (await asyncio.wait_for(waiting, 30)).models


async def test_history_is_kept_once_a_minute(scene):
    scene.world.servers = [server(Span(0, 4), expires_at=NOW + 599, decode=LayerSeconds(0.001))]
    for _ in range(31):
        scene.world.servers = [replace(scene.world.servers[0], announced_at=scene.world.now)]
        await scene.look(4)
    samples = scene.watcher.history(MODEL, 1.0)
    assert [sample.servers for sample in samples] == [1, 1, 1]
    assert samples[0].swarm_tokens_per_second == pytest.approx(250.0)


async def test_history_that_cant_be_read_is_logged_once_however_many_ask_for_it(scene, monkeypatch, caplog):
    """Every visitor of a model's page asks for it."""

    def broken(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is gone")

    monkeypatch.setattr(History, "samples", broken)
    assert [scene.watcher.history(MODEL, 1.0) for _ in range(50)] == [()] * 50
    assert len(caplog.records) == 1
    assert "the disk is gone" in caplog.text


async def test_what_a_probe_found_is_shown(scene):
    scene.world.servers = [server(Span(0, 4))]
    await scene.look()
    found = ProbeView(
        at=NOW,
        works=False,
        detail="no server",
        first_token_seconds=None,
        tokens_per_second=None,
        route=(),
        route_ways=(),
    )
    scene.watcher.note_probe(MODEL, found)
    assert scene.watcher.state().models[0].probe == found


async def parts(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_a_bundle_that_is_too_large_is_not_kept_in_memory(scene, monkeypatch):
    monkeypatch.setattr(watching, "MAX_BUNDLE_BYTES", 5000)
    with pytest.raises(UsageError, match="at most"):
        await scene.watcher.submit(parts(b"x" * 6000))


async def test_a_bundle_reaches_the_leaderboard_whole(scene, monkeypatch):
    taken: list[bytes] = []

    def submit(file: io.BufferedIOBase) -> Submission:
        taken.append(file.read())
        return Submission(1, 0, ())

    monkeypatch.setattr(scene.watcher._contributions, "submit", submit)
    assert (await scene.watcher.submit(parts(b"receipts" * 1000))).taken == 1
    assert taken == [b"receipts" * 1000]


async def test_no_look_ends_the_page_whatever_goes_wrong(scene, monkeypatch, caplog):
    """A record that brings out a fault of ours costs one look. The next one may succeed."""
    scene.world.servers = [server(Span(0, 4), announced_at=NOW, expires_at=NOW + 599)]
    troubles: list[Exception] = [RuntimeError("a fault"), SwarmError("nobody answers"), KeyError("x")]

    class Swarm:
        ways = OnlyEndpoints()

        @staticmethod
        @asynccontextmanager
        async def join(*args: object, **more: object) -> AsyncIterator[Any]:
            yield Swarm()

        async def models(self) -> list[ModelListing]:
            if troubles:
                raise troubles.pop(0)
            return await scene.world.models()

        async def sample(self, model: str) -> Sample:
            return await scene.world.sample(model)

    monkeypatch.setattr(watching, "Swarm", Swarm)
    monkeypatch.setattr(watching, "_RETRY_SECONDS", 0.01)
    async with ending(asyncio.create_task(scene.watcher.watch_forever())) as watch:
        while not scene.watcher.state().models:
            await asyncio.wait_for(scene.watcher.wait_newer(scene.watcher.state().generated_at), 30)
        assert not watch.done()
    assert scene.watcher.state().fresh
    assert caplog.text.count("Traceback") == 2


async def test_a_snapshot_that_cannot_be_made_leaves_the_last_one_which_says_that_it_is_old(
    scene, monkeypatch, caplog
):
    scene.world.servers = [server(Span(0, 4))]
    await scene.look()

    def fail(*args: object, **more: object) -> None:
        raise ArithmeticError("a fault")

    monkeypatch.setattr(watching, "make_state", fail)
    await scene.look()
    state = scene.watcher.state()
    assert (len(state.models), state.fresh) == (1, False)
    assert "this page has a fault" in state.detail
    monkeypatch.undo()
    await scene.look()
    assert scene.watcher.state().fresh


async def test_a_leaderboard_that_cannot_be_read_stays_as_it_was(scene, monkeypatch):
    """A full disk, or a file that another program damaged."""
    scene.world.servers = [server(Span(0, 4))]
    await scene.look()

    def fail(names: object) -> None:
        raise DatabaseError("leaderboard can't be read")

    monkeypatch.setattr(scene.watcher._contributions, "views", fail)
    await scene.look()
    assert scene.watcher.state().fresh
    assert scene.watcher.state().generated_at == NOW + 8


async def test_a_clock_that_was_wrong_and_has_been_set_leaves_no_page_from_the_future(scene):
    """Otherwise the page would call itself new for years, whatever happened to the swarm."""
    scene.world.now = NOW + 1e8
    await scene.look()
    scene.world.now = NOW
    await scene.look()
    assert scene.watcher.state().generated_at == NOW + 4
