"""Many texts at once while servers die, leave and come: none gets another token, waits for ever or leaks."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from p2pinfer.types import Span
from tests.client.batching.jobs import Jobs, jobs_in
from tests.client.sessions import THREE
from tests.fakes import VOCABULARY, FakeServer, FakeSwarm, fake_swarm

LIMITS = {"rows": 16, "sessions": 2, "session_tokens": 16 * 512, "shortest_row": 64}


def texts(chance: random.Random) -> list[tuple[list[int], int]]:
    """Prompts and lengths; half of the prompts begin alike."""
    stem = [chance.randrange(VOCABULARY) for _ in range(150)]

    def prompt() -> list[int]:
        if chance.random() < 0.5:
            return [*stem[: chance.randint(1, 150)], chance.randrange(VOCABULARY)]
        return [chance.randrange(VOCABULARY) for _ in range(chance.choice([1, 2, 30, 140]))]

    return [(prompt(), chance.choice([1, 2, 10, 40])) for _ in range(40)]


async def undisturbed(wanted: list[tuple[list[int], int]]) -> list[list[int]]:
    async with fake_swarm(THREE, cache_tokens=16384) as swarm:
        async with jobs_in(swarm, rows=1, session_tokens=512, shortest_row=512) as jobs:
            return [await jobs.text(prompt, length) for prompt, length in wanted]


async def replace_one(swarm: FakeSwarm, chance: random.Random) -> FakeServer:
    """A server of some layers dies, or begins to leave, and another has come before."""
    span = chance.choice(THREE)
    there = [one for one in swarm.members if one.engine.span == span and not one.draining]
    await swarm.add(span)
    victim = chance.choice(there)
    if chance.random() < 0.5:
        swarm.members.remove(victim)
        await swarm.kill(victim)
    else:
        victim.drain(5.0)
    return victim


async def text(jobs: Jobs, chance: random.Random, prompt: list[int], length: int) -> list[int] | None:
    """A text, or None if its reader left."""
    await asyncio.sleep(chance.uniform(0, 1))
    begun = jobs.begin(prompt, length)
    if chance.random() < 0.2:
        await asyncio.sleep(chance.uniform(0, 0.05))
        jobs.pool.cancel(begun[0])
        return None
    tokens = await jobs.end(begun)
    assert 0 <= begun[0].cached_tokens < len(prompt)
    for event in begun[0].replaced:
        assert event.left
        assert event.joined
        assert 0 <= event.after_tokens < length
    return tokens


@pytest.mark.parametrize("seed", range(2))
async def test_texts_are_what_they_are_undisturbed_while_servers_come_and_go(seed):
    chance = random.Random(seed)
    wanted = texts(chance)
    expected = await undisturbed(wanted)
    async with fake_swarm([*THREE, *THREE], cache_tokens=65536) as swarm:
        async with jobs_in(swarm, route=10.0, **LIMITS) as jobs:
            begun = [asyncio.create_task(text(jobs, chance, *one)) for one in wanted]
            for _ in range(6):
                await asyncio.sleep(chance.uniform(0.05, 0.3))
                await replace_one(swarm, chance)
            found = await asyncio.gather(*begun)
            assert [one for one in found if one is not None] == [
                known for known, one in zip(expected, found, strict=True) if one is not None
            ]
            async with asyncio.timeout(30):
                while jobs.pool.running or jobs.pool.waiting:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        await nothing_left(swarm)


async def test_texts_go_on_when_every_server_was_lost_and_others_come():
    wanted = texts(random.Random(7))[:8]
    expected = await undisturbed(wanted)
    async with fake_swarm(THREE, cache_tokens=65536) as swarm:
        async with jobs_in(swarm, route=20.0, **LIMITS) as jobs:
            begun = [jobs.begin(prompt, length) for prompt, length in wanted]
            await begun[-1][1].wait()
            for victim in list(swarm.members):
                swarm.members.remove(victim)
                await swarm.kill(victim)
            for span in THREE:
                await swarm.add(span)
            assert [await jobs.end(one) for one in begun] == expected


async def test_a_first_hop_that_leaves_while_a_text_is_given_up_gets_the_whole_prompt_of_the_next():
    """What the lost reader's text had sent is not taken for held by the one that comes."""
    async with fake_swarm([Span(0, 2), Span(2, 6)], cache_tokens=16384) as swarm:
        async with jobs_in(swarm, rows=1, sessions=1, shortest_row=512) as jobs:
            prompt = [index % VOCABULARY for index in range(300)]
            given_up, _ = jobs.begin(prompt, 5)
            while not jobs.pool.sessions[0].hops:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            jobs.pool.cancel(given_up)
            await swarm.add(Span(0, 2))
            swarm.members[0].drain(5.0)
            async with asyncio.timeout(30):
                while jobs.pool.sessions[0].hops[0].peer_id == swarm.members[0].peer_id:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            again = jobs.begin(prompt, 5)
            assert await jobs.end(again) == (await undisturbed([(prompt, 5)]))[0]
            assert again[0].replaced == []


async def nothing_left(swarm: FakeSwarm) -> None:
    async with asyncio.timeout(30):
        while any(len(member.sessions) for member in swarm.members):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "p2pinfer-texts"]
