"""Closing the network ends what sessions have open, and tells threads that still wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from p2pinfer.client.network import Network
from p2pinfer.client.reach.carrier import Carrier, ClientLane, Waiter
from p2pinfer.errors import P2PInferError, UsageError
from p2pinfer.types import Address
from tests.client.disturbed import PROMPT, until
from tests.client.sessions import THREE, decode, in_client, session_of
from tests.fakes import fake_swarm


class CountedWaiter:
    def __init__(self, waiter: Waiter, open_things: set[object]) -> None:
        self._waiter = waiter
        self._open_things = open_things
        open_things.add(self)

    def __getattr__(self, name: str) -> object:
        return getattr(self._waiter, name)

    def close(self) -> None:
        self._open_things.discard(self)
        self._waiter.close()


class CountingCarrier:
    """A carrier that knows which of its lanes and waiters are open."""

    def __init__(self, carrier: Carrier) -> None:
        self.open_things: set[object] = set()
        self._carrier = carrier

    def __getattr__(self, name: str) -> object:
        return getattr(self._carrier, name)

    def waiter(self) -> CountedWaiter:
        return CountedWaiter(self._carrier.waiter(), self.open_things)

    @asynccontextmanager
    async def lane(self, address: Address) -> AsyncIterator[ClientLane]:
        async with self._carrier.lane(address) as lane:
            self.open_things.add(lane)
            try:
                yield lane
            finally:
                self.open_things.discard(lane)


async def test_closing_the_network_closes_the_lanes_and_waiters_of_open_sessions():
    async with fake_swarm(THREE) as swarm:

        def work(network: Network) -> None:
            network.carrier = counting = CountingCarrier(network.carrier)
            sessions = [session_of(network), session_of(network)]
            for session in sessions:
                decode(session, PROMPT, 2)
            assert len(counting.open_things) == 6
            network.close()
            assert not counting.open_things
            with pytest.raises(UsageError, match="was closed"):
                sessions[0].compute([PROMPT], [1])
            sessions[0].close()

        await in_client(swarm, work)
        assert not any(member.open_sessions for member in swarm.members)


async def test_a_thread_that_waits_for_a_step_is_told_when_another_closes_the_network():
    async with fake_swarm(THREE) as swarm:
        go_on, waiting = threading.Event(), threading.Event()

        def hold() -> None:
            waiting.set()
            go_on.wait(60)

        def work(network: Network) -> P2PInferError:
            network.carrier = counting = CountingCarrier(network.carrier)
            session, errors = session_of(network), []
            decode(session, PROMPT, 2)

            def generate() -> None:
                try:
                    session.compute([[*PROMPT, 1, 2, 3]], [1])
                except P2PInferError as error:
                    errors.append(error)

            swarm.members[1].engine.before_forward = hold
            thread = threading.Thread(target=generate)
            thread.start()
            assert waiting.wait(60)
            network.close()
            thread.join(timeout=60)
            go_on.set()
            assert not counting.open_things
            return errors[0]

        error = await in_client(swarm, work)
    assert isinstance(error, UsageError)
    assert error.rows == [[*PROMPT, 1, 2, 3]]


async def test_a_thread_that_waits_for_servers_is_told_when_another_closes_the_network(caplog):
    async with fake_swarm([THREE[0], THREE[2]]) as swarm:

        def work(network: Network) -> P2PInferError:
            errors = []

            def generate() -> None:
                try:
                    session_of(network, route=60.0).compute([PROMPT], [1])
                except P2PInferError as error:
                    errors.append(error)

            thread = threading.Thread(target=generate)
            thread.start()
            until(lambda: "waiting for servers to join" in caplog.text)
            network.close()
            thread.join(timeout=60)
            return errors[0]

        error = await in_client(swarm, work)
    assert isinstance(error, UsageError)
    assert "was closed" in str(error)
    assert error.rows == [PROMPT]


async def test_a_child_of_a_fork_that_closes_the_network_leaves_its_parents_alone():
    """It has the parent's sockets, but not the thread that uses them."""
    async with fake_swarm(THREE) as swarm:

        def work(network: Network) -> None:
            child = os.fork()
            if child == 0:
                network.close()
                os._exit(0)
            os.waitpid(child, 0)
            decode(session_of(network), PROMPT, 2)
            network.run(asyncio.wait_for(asyncio.sleep(0), 30))

        await in_client(swarm, work)
