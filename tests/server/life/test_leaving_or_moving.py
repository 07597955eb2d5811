"""A server that is about to go to other layers when its owner ends it: it leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from p2pinfer.server.life.span_service import GAP_DRAIN_SECONDS, MOVE_DRAIN_SECONDS
from p2pinfer.server.placement.moving import Move
from p2pinfer.swarm.records.announcement import ServerState
from p2pinfer.types import Span
from tests.server.life.test_draining import program
from tests.server.wire_client import until, wire_client


class Eager:
    """A mover that wants to go, and does so when the test says."""

    def __init__(self, *, gaps: int = 1) -> None:
        self.gaps = gaps
        self.moves_to: Span | None = None
        self.is_undecided = False
        self.goes = asyncio.Event()

    async def wait(self, announce: Callable[[], Coroutine[Any, Any, object]]) -> Move:
        self.moves_to = Span(1, 2)
        await announce()
        await self.goes.wait()
        return Move(span=self.moves_to, gaps=self.gaps, weakest=1.0, then=2.0)


@pytest.mark.parametrize("drains", [False, True])
async def test_a_server_that_its_owner_ends_goes_nowhere_else(drains: bool):
    """While it fetches, or lets its sessions move: else others would count on it at its new layers."""
    mover = Eager()
    async with program(mover=mover) as running, wire_client() as client:
        board = running.board
        await until(lambda: board.announced[-1].moves_to is not None)
        route = await client.route(running.member)
        if drains:
            mover.goes.set()
            await until(lambda: board.announced[-1].state is ServerState.DRAINING)
        before = len(board.announced)
        running.stop()
        await until(lambda: len(board.announced) > before)
        mover.goes.set()
        assert board.announced[-1].state is ServerState.DRAINING
        assert board.announced[-1].moves_to is None
        assert board.announced[-1].leaves_at is not None
        assert board.announced[-1].leaves_at - time.time() > 50
        route.hops[0].call.cancel()
        await running.ended()
        assert board.states[-1] == "LEFT"
        assert running.service.move is None


@pytest.mark.parametrize(("gaps", "seconds"), [(0, MOVE_DRAIN_SECONDS), (1, GAP_DRAIN_SECONDS)])
async def test_sessions_that_wait_for_a_server_do_not_hold_it_up_for_long(gaps: int, seconds: float):
    mover = Eager(gaps=gaps)
    async with program(mover=mover) as running, wire_client() as client:
        route = await client.route(running.member)
        mover.goes.set()
        assert (await route.hops[0].frame()).draining.seconds == seconds
