"""The computing thread: a fatal error ends the server with a clear line, and nothing hangs."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from p2pinfer.errors import EngineError
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.compute_thread import ComputeThread
from p2pinfer.types import Span
from p2pinfer.wire.status import Reason, Refused
from tests.fakes import SPEED, FakeEngine


def new_thread() -> ComputeThread:
    return ComputeThread(Batcher(FakeEngine(Span(0, 1)), SPEED), asyncio.get_running_loop())


async def test_a_fault_of_ours_on_the_thread_is_told_to_who_waits(caplog):
    def fault():
        raise KeyError("a fault")

    with new_thread() as thread:
        thread.call(fault)
        with pytest.raises(EngineError, match="start the server again"):
            async with asyncio.timeout(30):
                await thread.wait_failed()
    assert "the computing thread failed" in caplog.text


async def test_the_thread_ends_with_the_block_and_later_calls_are_harmless():
    with new_thread() as thread:
        pass
    assert not thread.thread.is_alive()
    thread.call(pytest.fail)
    await asyncio.sleep(0)  # the loop hears of the end
    assert thread.ask(pytest.fail).cancelled()


async def test_a_question_is_answered_with_a_value_or_a_refusal():
    def refuse(reason: Reason) -> None:
        raise Refused(reason, "no")

    with new_thread() as thread:
        assert await thread.ask(max, 2, 3) == 3
        with pytest.raises(Refused) as refused:
            await thread.ask(refuse, Reason.BUSY)
        assert refused.value.reason is Reason.BUSY


async def test_what_was_called_for_is_done_before_lanes_are_read():
    """A lane may bring the hello of a session that the thread learned of a moment before."""
    order: list[str] = []
    gate = threading.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs, new_thread() as thread:
        await thread.ask(thread.watch, ours, lambda _: order.append(f"lane {ours.recv(9).decode()}"))
        thread.call(gate.wait, 5)
        theirs.send(b"1")
        thread.call(order.append, "call")
        gate.set()
        async with asyncio.timeout(30):
            while len(order) < 2:
                await thread.ask(lambda: None)
        await thread.ask(thread.unwatch, ours)
    assert order == ["call", "lane 1"]
