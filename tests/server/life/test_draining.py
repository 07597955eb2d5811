"""A server that was asked to leave: which clients it tells, how long it waits, and what ends the waiting."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.errors import RefusedError, SwarmError
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.door.guests import Guests
from p2pinfer.server.door.listeners import open_to_peers
from p2pinfer.server.door.reception import Reception
from p2pinfer.server.layers import announcing
from p2pinfer.server.layers.announcing import Heartbeats, withdraw
from p2pinfer.server.life import span_service
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.life.shutdown_request import ShutdownRequest
from p2pinfer.server.life.span_service import LoadedSpan, SpanService, cache_tokens
from p2pinfer.server.neighbours.roster import Roster
from p2pinfer.server.sessions.accounts import Accounts
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import Span
from p2pinfer.wire.inference_pb2_grpc import add_InferenceServicer_to_server
from tests.fakes import (
    HIDDEN_SIZE,
    MODEL,
    SPEED,
    FakeEngine,
    FakeServer,
    MemoryBook,
    fake_manifest,
    fake_swarm,
)
from tests.server.life.board import Board, claim_of
from tests.server.wire_client import ONE, SECONDS, opened, until, wire_client


class Program:
    """A server in one serving period, in a swarm that is a list."""

    def __init__(self, *flags: str, mover: Any = None) -> None:
        self.lines: list[str] = []
        self.fails_to_say = ""
        self.book = MemoryBook()
        self.folder = tempfile.TemporaryDirectory()
        self.board = Board(private_folder=Path(self.folder.name))
        config = ServerConfig.from_args(
            ["m", "--listen", "127.0.0.1:0", "--max-cache-tokens", "4096", *flags]
        )
        self.period = ServingPeriod(
            say=self.say,
            drain_seconds=lambda: 60.0 if config.drain_seconds is None else config.drain_seconds,
            ends_at=lambda: self.ends_at,
        )
        self.ends_at: float | None = None
        accounts = Accounts(self.board.identity, self.book, receipt_tokens=config.receipt_tokens)
        swarm: Any = self.board
        span = LoadedSpan(
            manifest=fake_manifest(2),
            claim=claim_of(self.board),
            engine=FakeEngine(Span(0, 2)),
            speed=SPEED,
            holds_ends=lambda: False,
            make_mover=None if mover is None else lambda _: mover,
        )
        service = SpanService(config, swarm, span, accounts, self.period, Roster(swarm, MODEL))
        self.service = service
        self.serving = asyncio.create_task(self._serve(service, config, swarm))

    async def _serve(self, service: SpanService, config: ServerConfig, swarm: Any) -> None:
        reception = Reception()
        services = [partial(add_InferenceServicer_to_server, reception)]
        async with open_to_peers(
            config.listen, config.announce, services, reception.adopt, swarm, Guests()
        ) as reachable:
            await service.run(reception, reachable)

    def say(self, line: str) -> None:
        """Print a line, as `__main__` does; here the output may have been closed."""
        if self.fails_to_say and line.startswith(self.fails_to_say):
            raise BrokenPipeError
        self.lines.append(line)

    def stop(self) -> None:
        """End the server, as the owner's first signal does."""
        self.period.stopping.set()

    def leave_now(self) -> None:
        """End the server at once, as the owner's second signal does."""
        self.period.leaving.set()

    @property
    def member(self) -> FakeServer:
        """What a client needs to find the server."""
        record = self.board.announced[-1]
        member = FakeServer(Span(0, 2), 2, 0, 0.0, 4096)
        with member.runner:
            pass  # its thread never computes: ending it closes its sockets
        member.identity = self.board.identity
        member.port = int(record.endpoints[0].rpartition(":")[2])
        member.certificate_der = record.certificate
        return member

    async def ended(self) -> None:
        """Wait until the server has left, without an error."""
        await asyncio.wait_for(self.serving, SECONDS)


@asynccontextmanager
async def program(*flags: str, mover: Any = None) -> AsyncIterator[Program]:
    running = Program(*flags, mover=mover)
    try:
        await asyncio.wait_for(running.period.ready.wait(), SECONDS)
        yield running
    finally:
        running.serving.cancel()
        await asyncio.wait({running.serving})
        running.folder.cleanup()


async def test_without_sessions_a_server_leaves_at_once():
    async with program() as running:
        running.stop()
        await running.ended()
    assert running.board.states == ["SERVING", "LEFT"]
    assert running.lines[-1] == "leaving: 0 sessions are told"
    assert not any("draining" in line for line in running.lines)


async def test_a_draining_server_tells_everybody_serves_on_and_leaves_with_its_last_session():
    async with program("--drain-seconds", "50") as running, wire_client() as client:
        route = await client.route(running.member)
        await route.run(ONE, 0)
        running.board.news.clear()
        running.stop()
        assert (await route.hops[0].frame()).draining.seconds == 50
        await asyncio.wait_for(running.board.news.wait(), SECONDS)
        announced = running.board.announced[-1]
        assert announced.state is ServerState.DRAINING
        assert 0 < announced.leaves_at - time.time() <= 50
        with pytest.raises(RefusedError) as refused:
            await client.open(running.member)
        assert refused.value.reason == "draining"
        await route.run(ONE, 1)
        assert not running.serving.done()
        route.hops[0].call.cancel()
        await running.ended()
    assert running.board.states == ["SERVING", "DRAINING", "LEFT"]
    assert running.lines[-2:] == [
        "draining: 1 session moves to other servers (at most 50 s; Ctrl-C again leaves at once)",
        "leaving: 0 sessions are told",
    ]


@pytest.mark.parametrize("flags", [("--drain-seconds", "0.1"), ("--drain-seconds", "0")])
async def test_after_the_time_given_sessions_that_are_left_are_told(flags):
    async with program(*flags) as running, wire_client() as client:
        route = await client.route(running.member)
        running.stop()
        with pytest.raises(RefusedError, match="move to another") as refused:
            await route.hops[0].caught_up(1)  # never: the client has no history
        await running.ended()
    assert refused.value.reason == "leaving"
    assert running.lines[-1] == "leaving: 1 session is told"


async def test_asked_twice_a_server_leaves_at_once_and_its_sessions_are_told_why():
    async with program() as running, wire_client() as client:
        route = await client.route(running.member)
        running.stop()
        assert (await route.hops[0].frame()).draining.seconds == 60
        running.leave_now()
        with pytest.raises(RefusedError) as refused:
            await route.hops[0].frame()
        await running.ended()
    assert refused.value.reason == "leaving"
    assert running.board.states[-1] == "LEFT"


async def test_the_third_request_to_shut_down_has_nothing_gentle_left_to_ask_for():
    shutdown = ShutdownRequest()
    assert [shutdown.ask(), shutdown.ask(), shutdown.ask()] == [True, True, False]
    assert shutdown.asked.is_set()
    assert shutdown.urgent.is_set()


async def test_sessions_are_told_to_move_before_the_owner_is_told_that_they_do():
    """With a closed output, clients still hear of the drain, and the period ends with an error."""
    async with program() as running, wire_client() as client:
        route = await client.route(running.member)
        running.fails_to_say = "draining"
        running.stop()
        assert (await route.hops[0].frame()).draining.seconds == 60
        with pytest.raises(BrokenPipeError):
            await running.ended()


async def test_sessions_are_ended_before_the_owner_is_told_that_the_server_leaves():
    async with program() as running, wire_client() as client:
        route = await client.route(running.member)
        running.fails_to_say = "leaving"
        running.stop()
        running.leave_now()
        with pytest.raises(RefusedError) as refused:
            await route.hops[0].caught_up(1)  # never: the client has no history
        with pytest.raises(BrokenPipeError):
            await running.ended()
    assert refused.value.reason == "leaving"


async def test_when_the_policy_knows_its_end_the_record_says_so():
    async with program() as running:
        running.ends_at = time.time() + 3600
        running.period.server.announce_soon()
        running.board.news.clear()
        await asyncio.wait_for(running.board.news.wait(), SECONDS)
    announced = running.board.announced[-1]
    assert (announced.state, announced.leaves_at) == (ServerState.SERVING, running.ends_at)


async def test_a_server_whose_swarm_is_lost_serves_on_and_leaves_as_if_it_were_not():
    async with program() as running, wire_client() as client:
        route = await client.route(running.member)
        running.board.lost = True
        await route.run(ONE, 0)
        running.stop()
        running.leave_now()
        with pytest.raises(RefusedError) as refused:
            await route.hops[0].caught_up(1)  # never: the client has no history
        await running.ended()
    assert refused.value.reason == "leaving"


async def test_a_server_announces_itself_as_soon_as_it_has_rejoined():
    async with program() as running:
        running.board.news.clear()
        running.board.rejoined.set()
        await asyncio.wait_for(running.board.news.wait(), SECONDS)
    assert running.board.states == ["SERVING", "SERVING"]


async def test_heartbeats_go_on_when_announcing_fails(caplog):
    board = Board()
    board.lost = True
    described = []

    def describe():
        described.append(1)

    swarm: Any = board
    heartbeats: Any = Heartbeats
    beating = asyncio.create_task(heartbeats(swarm, describe, 0.001).beat_forever())
    await until(lambda: len(described) > 2)
    beating.cancel()
    assert board.announced == []
    assert "p2pd has ended" in caplog.text


async def test_a_heartbeat_that_fails_unexpectedly_ends_the_period_loudly(monkeypatch):
    """The end of any task that a period needs is an error."""
    async with program() as running:

        async def announce(_: Announcement) -> None:
            raise KeyError("a fault")

        monkeypatch.setattr(running.board, "announce", announce)
        running.period.server.announce_soon()
        with pytest.raises(KeyError, match="a fault"):
            await running.ended()
        assert running.period.server is None


async def test_the_first_announcement_is_repeated_until_a_peer_keeps_it(monkeypatch):
    """p2pd may die while a server loads its layers: the server still serves afterwards."""
    monkeypatch.setattr(announcing, "RETRIES", Backoff(first_seconds=0.001, most_seconds=0.001))
    board = Board(lost=True)

    tries = 0

    def describe() -> Announcement:
        nonlocal tries
        tries += 1
        board.lost = tries < 3
        return claim_of(board)

    await announcing.announce_first(board, describe)
    assert (tries, len(board.announced)) == (3, 1)
    board.lost = True
    monkeypatch.setattr(announcing, "FIRST_SECONDS", -1.0)
    with pytest.raises(SwarmError):
        await announcing.announce_first(board, lambda: claim_of(board))


async def test_a_withdrawal_without_an_answer_holds_nothing_up(monkeypatch):
    monkeypatch.setattr(announcing, "WITHDRAW_SECONDS", 0.01)

    class Stuck:
        async def withdraw(self, _):
            await asyncio.Event().wait()

    stuck: Any = Stuck()
    announcement: Any = None
    async with asyncio.timeout(SECONDS):
        await withdraw(stuck, announcement)


async def test_a_fake_server_drains_like_a_real_one():
    """The interface that tests of clients need."""
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route:
        (member,) = swarm.members
        await route.run(ONE, 0)
        member.drain(7)
        assert (await route.hops[0].frame()).draining.seconds == 7
        (record,) = await swarm.servers(MODEL)
        assert record.state is ServerState.DRAINING
        with pytest.raises(RefusedError, match="leaving"):
            async with opened(swarm):
                pass
        await route.run(ONE, 1)
        await member.leave()
        with pytest.raises(RefusedError, match="move to another"):
            await route.hops[0].frame()


def test_the_history_counts_in_what_a_server_takes_of_memory(monkeypatch):
    free_bytes = 4 * 1000 * (1 + 4 * HIDDEN_SIZE)
    monkeypatch.setattr(span_service, "available_memory_bytes", lambda: free_bytes)
    config = ServerConfig.from_args(["m", "--identity", str(Path("key"))])
    assert cache_tokens(config, FakeEngine(Span(0, 2))) == 1000
