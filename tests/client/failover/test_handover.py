"""Servers drain or become slow in the middle of a text, and others take over between two tokens.

Servers are the real handler and runner over real sockets; the tests count how often each computed.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from p2pinfer.client.chain.splice import Splice
from p2pinfer.client.network import Network
from p2pinfer.types import Span
from tests.client.disturbed import PROMPT, TOKENS, Mischief, computed, in_use, until
from tests.client.sessions import THREE, decode, in_client, session_of
from tests.fakes import (
    FakeServer,
    fake_swarm,
    greedy_locally,
)


async def test_a_draining_server_is_left_between_two_tokens_and_nothing_is_computed_twice():
    async with fake_swarm(THREE) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                leaving: list[FakeServer] = []

                def drain(index: int) -> None:
                    if index == 3:
                        asyncio.run_coroutine_threadsafe(swarm.add(THREE[1]), mischief.loop).result()
                        network.run(network.directory.refresh())
                        leaving.append(mischief.drain(THREE[1]))
                        until(lambda: session.has_successor or session.replaced_hops == 1)
                    if index > 3:
                        assert not leaving[0].open_sessions or index == 4

                text = decode(session, PROMPT, TOKENS, after=drain)
                assert session.replaced_hops == 1
                until(lambda: not leaving[0].open_sessions)
                return text

        assert await in_client(swarm, work) == greedy_locally(PROMPT, TOKENS, 6)
        sent = len(PROMPT) + TOKENS - 1
        assert computed(swarm.members[0]) == computed(swarm.members[2]) == sent
        assert computed(swarm.members[1]) + computed(swarm.members[3]) == sent + len(PROMPT) + 3


@pytest.mark.parametrize("span", THREE, ids=["first", "middle", "last"])
async def test_an_idle_session_leaves_a_draining_server_by_itself(span):
    """The server does not have to wait for the next generate() call."""
    async with fake_swarm([*THREE, span]) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                text = decode(session, PROMPT, 5)
                leaving = mischief.drain(span)
                until(lambda: not leaving.open_sessions and session.replaced_hops == 1)
                return text + decode(session, [*PROMPT, *text], 5)

        assert await in_client(swarm, work) == greedy_locally(PROMPT, 10, 6)


async def test_a_draining_server_serves_on_while_there_is_no_other_and_hands_over_when_there_is():
    async with fake_swarm(THREE) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                text = decode(session, PROMPT, 3)
                leaving = mischief.drain(THREE[2])
                text += decode(session, [*PROMPT, *text], 3)
                assert session.replaced_hops == 0
                asyncio.run_coroutine_threadsafe(swarm.add(THREE[2]), mischief.loop).result()
                until(lambda: not leaving.open_sessions)
                return text + decode(session, [*PROMPT, *text], 3)

        assert await in_client(swarm, work) == greedy_locally(PROMPT, 9, 6)


async def test_a_server_that_becomes_five_times_slower_is_left_while_it_still_serves():
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm:

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                slow: list[FakeServer] = []

                def become_slow(index: int) -> None:
                    if index == 10:
                        slow.append(in_use(swarm, THREE[1]))
                        slow[0].engine.before_forward = lambda: time.sleep(0.05)
                    if index == 24:
                        until(lambda: session.has_successor or session.replaced_hops == 1)

                text = decode(session, PROMPT, 30, after=become_slow)
                until(lambda: not slow[0].open_sessions)
                return text

        assert await in_client(swarm, work) == greedy_locally(PROMPT, 30, 6)


async def test_two_hops_drain_one_after_the_other_and_each_hands_over():
    async with fake_swarm([*THREE, THREE[0], THREE[2]]) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                text = decode(session, PROMPT, 3)
                leaving = [mischief.drain(THREE[0]), mischief.drain(THREE[2])]
                text += decode(session, [*PROMPT, *text], 3)
                until(lambda: not any(member.open_sessions for member in leaving))
                return text + decode(session, [*PROMPT, *text], 3)

        assert await in_client(swarm, work) == greedy_locally(PROMPT, 9, 6)


async def test_while_a_successor_takes_over_no_second_one_is_prepared(monkeypatch):
    """A second successor would make the hops that stay expect it instead of the first."""
    warm = []

    class Slow(Splice):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            warm.append(kwargs["warm"])

        async def commit(self, held):
            if warm[-1]:
                await asyncio.sleep(0.7)
            await super().commit(held)

    monkeypatch.setattr("p2pinfer.client.failover.replacements.Splice", Slow)
    async with fake_swarm([*THREE, THREE[1], THREE[1]]) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[int]:
            with session_of(network) as session:

                def drain(index: int) -> None:
                    if index == 3:
                        mischief.drain(THREE[1])
                        until(lambda: session.has_successor or session.replaced_hops == 1)

                text = decode(session, PROMPT, TOKENS, after=drain)
                assert session.replaced_hops == 1
                return text

        assert await in_client(swarm, work) == greedy_locally(PROMPT, TOKENS, 6)
    assert warm == [False, True]
