"""Tools of tests in which servers come and go during a text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from p2pinfer.types import Span
from tests.fakes import FakeServer, FakeSwarm

PROMPT = [4, 5, 6, 7]
TOKENS = 12


def in_use(swarm: FakeSwarm, span: Span) -> FakeServer:
    """Find the server of this span that has a session."""
    return next(member for member in swarm.members if member.engine.span == span and len(member.sessions))


def computed(member: FakeServer) -> int:
    """Count the tokens that this server's layers computed."""
    return sum(member.engine.batch_tokens)


class Mischief:
    """Kills and drains the swarm's servers, from the client's thread."""

    def __init__(self, swarm: FakeSwarm) -> None:
        self.swarm = swarm
        self.loop = asyncio.get_running_loop()

    def kill(self, *spans: Span) -> None:
        for span in spans:
            victim = in_use(self.swarm, span)
            asyncio.run_coroutine_threadsafe(self.swarm.kill(victim), self.loop).result()

    def drain(self, span: Span) -> FakeServer:
        leaving = in_use(self.swarm, span)
        self.loop.call_soon_threadsafe(leaving.drain)
        return leaving


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait in a thread for the work of another thread."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)
