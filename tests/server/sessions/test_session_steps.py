"""The computing thread: what it can't go on from ends the server with a clear line, and nothing hangs."""

from __future__ import annotations

import asyncio
import socket

import pytest

from p2pinfer.errors import EngineError
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.sessions.session_steps import Runner
from p2pinfer.types import Span
from tests.fakes import SPEED, FakeEngine


async def test_a_fault_of_ours_on_the_computing_thread_is_told_to_who_waits(caplog):
    batcher = Batcher(FakeEngine(Span(0, 1)), SPEED)

    def fault(_):
        raise KeyError("a fault")

    with Runner(batcher, fault, asyncio.get_running_loop()) as runner:
        runner._worker.call(lambda: fault(None))
        with pytest.raises(EngineError, match="start the server again"):
            async with asyncio.timeout(5):
                await runner.wait_failed()
    assert "the computing thread failed" in caplog.text


async def test_the_thread_ends_with_the_block_and_later_calls_are_harmless():
    batcher = Batcher(FakeEngine(Span(0, 1)), SPEED)
    with Runner(batcher, lambda _: None, asyncio.get_running_loop()) as runner:
        assert runner.queue_depth == 0
    assert not runner._worker.thread.is_alive()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        runner.adopt(ours)  # type: ignore[arg-type]
