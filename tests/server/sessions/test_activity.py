"""Whether sessions need the machine and its network now, as those who want to share files see it."""

from __future__ import annotations

import math
import socket
import threading

import pytest

from p2pinfer.server.sessions import rest_writer
from p2pinfer.sharing.give.activity import Activity
from p2pinfer.types import Span
from p2pinfer.wire.steps import RowChunk
from tests.fakes import fake_swarm, random_hidden
from tests.server.wire_client import opened, until


async def test_without_sessions_nothing_was_ever_active():
    async with fake_swarm([Span(0, 2)]) as swarm:
        activity = swarm.members[0].runner.activity

    assert activity == Activity(waiting=False, seconds_since_step=math.inf)


async def test_a_step_waits_until_it_is_computed():
    """Then the time since it begins."""
    may_compute = threading.Event()
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route:
        member = swarm.members[0]
        member.engine.before_forward = may_compute.wait
        assert not member.runner.activity.waiting
        step_id = await route.send([RowChunk(0, 0, random_hidden(1))])
        await until(lambda: member.runner.activity.waiting)
        may_compute.set()
        await route.receive(step_id, 1)
        await until(lambda: not member.runner.activity.waiting)
        assert member.runner.activity.seconds_since_step < 20.0


async def test_a_session_that_is_idle_is_not_active():
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route:
        await route.run(random_hidden(1), 0)
        [session] = swarm.members[0].open_sessions
        session.lease.touched_at -= 90.0
        session.lease.progress.active_at -= 60.0
        assert 60.0 <= swarm.members[0].runner.activity.seconds_since_step < 80.0


async def test_outputs_that_the_network_has_not_taken_yet_wait(monkeypatch: pytest.MonkeyPatch):
    """Until they are out; a reader that takes nothing at all doesn't keep others from sharing."""
    hidden = random_hidden(500)
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm, max_tokens=512) as route:
        runner = swarm.members[0].runner
        [session] = swarm.members[0].open_sessions
        await route.run(hidden[:1], 0)
        session.outputs._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        route.results._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        steps = [await route.send([RowChunk(0, 0, hidden)]) for _ in range(8)]
        await until(lambda: session.flushing is not None and swarm.members[0].batcher.depth == 0)
        assert runner.activity.waiting
        monkeypatch.setattr(rest_writer, "_MOVING_SECONDS", 0.0)
        assert not runner.activity.waiting
        monkeypatch.undo()
        for step_id in steps:
            await route.receive(step_id, 500)
        await until(lambda: not runner.activity.waiting)
