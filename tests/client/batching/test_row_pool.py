"""Texts that share sessions: each is what it would be alone, whatever its neighbours and the servers do."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from p2pinfer.errors import NoRouteError, RefusedError, UsageError
from p2pinfer.types import Span
from tests.client.batching.jobs import jobs_in
from tests.client.sessions import THREE, decode, in_client, session_of
from tests.fakes import fake_swarm
from tests.server.wire_client import opened

LONG = list(range(1, 30)) * 3
PROMPTS = [[1 + index, 5, 3 + index % 4] * (1 + index % 5) for index in range(12)]


async def alone(swarm, prompt: list[int], count: int) -> list[int]:
    return await in_client(swarm, lambda network: decode(session_of(network), prompt, count))


async def test_texts_that_share_a_session_are_what_they_are_alone():
    async with fake_swarm(THREE) as swarm:
        expected = [await alone(swarm, prompt, 5 + index) for index, prompt in enumerate(PROMPTS)]
        async with jobs_in(swarm) as jobs:
            texts = [jobs.text(prompt, 5 + index) for index, prompt in enumerate(PROMPTS)]
            assert await asyncio.gather(*texts) == expected
            assert len(jobs.pool.sessions) <= 3
            assert (jobs.pool.waiting, jobs.pool.running) == (0, 0)


async def test_one_text_leases_a_few_rows_and_many_lease_more():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, rows=16, session_tokens=4096) as jobs:
            await jobs.text([1, 2], 2)
            assert [session.shape.rows for session in jobs.pool.sessions] == [4]
            await asyncio.gather(*(jobs.text(prompt, 6) for prompt in PROMPTS))
            assert max(session.shape.rows for session in jobs.pool.sessions) > 4


async def test_more_texts_than_rows_wait_for_their_turn():
    async with fake_swarm(THREE) as swarm:
        expected = [await alone(swarm, prompt, 4) for prompt in PROMPTS]
        async with jobs_in(swarm, rows=2, sessions=1) as jobs:
            begun = [jobs.begin(prompt, 4) for prompt in PROMPTS]
            assert jobs.pool.waiting == 10
            assert [await jobs.end(one) for one in begun] == expected


async def test_a_server_that_dies_costs_no_text_a_token_and_all_are_told():
    async with fake_swarm([*THREE, THREE[1]]) as swarm:
        expected = [await alone(swarm, prompt, 12) for prompt in PROMPTS[:4]]
        async with jobs_in(swarm) as jobs:
            dead = asyncio.Event()
            loop = asyncio.get_running_loop()

            def kill(tokens: int) -> None:
                if tokens == 3 and not dead.is_set():
                    used = jobs.pool.sessions[0].hops[1].peer_id
                    member = next(one for one in swarm.members if one.peer_id == used)
                    asyncio.run_coroutine_threadsafe(swarm.kill(member), loop).result()
                    loop.call_soon_threadsafe(dead.set)

            begun = [jobs.begin(prompt, 12, kill) for prompt in PROMPTS[:4]]
            assert [await jobs.end(one) for one in begun] == expected
            assert dead.is_set()
            for job, _ in begun:
                (replaced,) = job.replaced
                assert len(replaced.left) == len(replaced.joined) == 1
                assert 0 < replaced.after_tokens < 12


async def test_a_text_that_outgrows_its_row_goes_on_in_a_longer_one():
    async with fake_swarm(THREE) as swarm:
        expected = await alone(swarm, [3, 4, 5], 100)
        async with jobs_in(swarm, shortest_row=16) as jobs:
            assert await jobs.text([3, 4, 5], 100) == expected


async def test_a_prompt_that_begins_like_an_earlier_text_is_not_computed_twice():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm) as jobs:
            first = list(range(1, 31))
            answer = await jobs.text(first, 4)
            longer = [*first, *answer, 7, 7]
            expected = await alone(swarm, longer, 4)
            begun = jobs.begin(longer, 4)
            assert await jobs.end(begun) == expected
            assert begun[0].cached_tokens == 30 + 3  # the last token of the answer was never sent
            again = jobs.begin(longer, 4)
            assert await jobs.end(again) == expected
            assert again[0].cached_tokens == len(longer) - 1


async def test_a_text_that_nobody_waits_for_gives_its_row_back():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, rows=1, sessions=1) as jobs:
            endless, changed = jobs.begin([1, 2, 3], 10**6)
            await changed.wait()
            waiting = jobs.begin([4, 5], 3)
            given_up, _ = jobs.begin([6, 7], 3)
            jobs.pool.cancel(given_up)
            jobs.pool.cancel(endless)
            assert await jobs.end(waiting) == await alone(swarm, [4, 5], 3)
            assert jobs.pool.waiting == 0


async def test_a_text_in_the_background_begins_when_no_other_waits():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, rows=1, sessions=1) as jobs:
            order = []
            first = jobs.begin([1, 2, 3], 3)
            behind = jobs.begin([9, 9], 1, lambda _: order.append("background"), is_background=True)
            front = jobs.begin([8, 8], 1, lambda _: order.append("reader"))
            for begun in (first, behind, front):
                await jobs.end(begun)
            assert order == ["reader", "background"]


async def test_a_continuation_that_fails_ends_its_own_text_only():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm) as jobs:

            def fail(tokens: int) -> None:
                if tokens == 2:
                    raise UsageError("nonsense")

            failing = jobs.begin([1, 2], 9, fail)
            going_on = jobs.begin(PROMPTS[0], 9)
            with pytest.raises(UsageError, match="nonsense"):
                await jobs.end(failing)
            assert await jobs.end(going_on) == await alone(swarm, PROMPTS[0], 9)


async def test_without_a_route_every_text_gets_the_error_and_later_ones_begin_anew():
    async with fake_swarm([Span(0, 2), Span(4, 6)]) as swarm:
        async with jobs_in(swarm, route=0.2) as jobs:
            begun = [jobs.begin([1, 2], 2), jobs.begin([2, 3], 2)]
            for one in begun:
                with pytest.raises(NoRouteError):
                    await jobs.end(one)
            await swarm.add(Span(2, 4))
            assert await jobs.text([1, 2], 2) == await alone(swarm, [1, 2], 2)


async def test_where_the_servers_have_no_room_for_another_session_texts_wait_for_a_row():
    async with fake_swarm(THREE, cache_tokens=300) as swarm:
        async with jobs_in(swarm, route=0.3) as jobs:  # four rows of 64 tokens each
            expected = [await alone_short(swarm, prompt, 4) for prompt in PROMPTS]
            assert await asyncio.gather(*(jobs.text(prompt, 4) for prompt in PROMPTS)) == expected


async def test_where_servers_are_too_small_for_a_session_its_rows_become_fewer():
    async with fake_swarm(THREE, cache_tokens=100) as swarm:
        async with jobs_in(swarm) as jobs:  # of four rows of 64 tokens, one fits
            expected = [await alone_short(swarm, prompt, 4) for prompt in PROMPTS[:3]]
            assert await asyncio.gather(*(jobs.text(prompt, 4) for prompt in PROMPTS[:3])) == expected


async def test_where_servers_are_full_a_session_of_one_row_is_tried_before_the_text_fails():
    async with fake_swarm(THREE, cache_tokens=300) as swarm, opened(swarm, max_tokens=200):
        async with jobs_in(swarm, route=0.2) as jobs:
            expected = await alone_short(swarm, PROMPTS[0], 4)
            assert await jobs.text(PROMPTS[0], 4) == expected
    async with fake_swarm(THREE, cache_tokens=300) as swarm, AsyncExitStack() as full:
        for member in swarm.members:
            full.enter_context(member.sessions.reserved(256))
        async with jobs_in(swarm, route=0.2) as jobs:
            with pytest.raises((NoRouteError, RefusedError), match=r"no room|are free"):
                await jobs.text(PROMPTS[0], 4)


async def alone_short(swarm, prompt: list[int], count: int) -> list[int]:
    return await in_client(swarm, lambda network: decode(session_of(network, max_length=32), prompt, count))


async def test_closing_ends_every_text_with_an_error_that_says_so():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, rows=1, sessions=1) as jobs:
            endless = jobs.begin([1, 2, 3], 10**6)
            await endless[1].wait()
            waiting = jobs.begin([1, 2], 2)
            jobs.pool.close()
            for begun in (endless, waiting):
                with pytest.raises(UsageError, match="closed"):
                    await jobs.end(begun)


async def test_a_session_that_nobody_uses_is_closed():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, unused_seconds=0.05) as jobs:
            await jobs.text([1, 2], 2)
            async with asyncio.timeout(30):
                while jobs.pool.sessions or swarm.members[0].sessions.free_cache_tokens < 4096:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def test_a_text_given_up_before_its_session_was_opened_keeps_no_longer_one_waiting():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm) as jobs:
            given_up, _ = jobs.begin([1, 2], 3)
            jobs.pool.cancel(given_up)
            (session,) = jobs.pool.sessions
            async with asyncio.timeout(30):
                while session.submitted:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert not session.is_opening
            assert await jobs.text(LONG, 3) == await alone(swarm, LONG, 3)


async def test_a_closed_pool_tells_texts_that_wait_for_servers_at_once():
    async with fake_swarm([Span(0, 2), Span(4, 6)]) as swarm:
        async with jobs_in(swarm, route=60.0) as jobs:
            begun = jobs.begin([1, 2], 2)
            await asyncio.sleep(0.05)  # it asks for a route by now, or is about to
            jobs.pool.close()
            with pytest.raises(UsageError, match="closed"):
                await jobs.end(begun)


async def test_a_session_that_is_unused_makes_room_for_a_text_that_needs_a_longer_row():
    async with fake_swarm(THREE, cache_tokens=1100) as swarm:
        async with jobs_in(swarm) as jobs:  # of 4 * 64 tokens, then of 4 * 256
            await jobs.text([1, 2], 2)
            async with asyncio.timeout(30):
                assert len(await jobs.text(LONG, 3)) == 3
            assert [session.shape.max_tokens for session in jobs.pool.sessions] == [256]


async def test_a_text_that_needs_a_long_row_gets_one_alone_where_there_is_no_room_for_more():
    async with fake_swarm(THREE, cache_tokens=600) as swarm:
        async with jobs_in(swarm) as jobs:
            endless, changed = jobs.begin([1, 2], 10**6)
            await changed.wait()
            async with asyncio.timeout(30):
                assert len(await jobs.text(LONG, 3)) == 3
            jobs.pool.cancel(endless)


async def test_a_text_for_which_the_swarm_has_no_session_gets_the_next_row_of_another():
    """It doesn't wait for servers with all its patience meanwhile."""
    async with fake_swarm(THREE, cache_tokens=70) as swarm:
        async with jobs_in(swarm, route=60.0, rows=1) as jobs:
            first = jobs.begin([1, 2], 30)
            await first[1].wait()
            async with asyncio.timeout(30):
                assert len(await jobs.text([3, 4], 3)) == 3


async def test_texts_whose_session_was_not_opened_keep_their_order():
    async with fake_swarm(THREE, cache_tokens=100) as swarm:
        async with jobs_in(swarm, sessions=1) as jobs:  # of four rows of 64 tokens, one fits
            order = []
            notes = [lambda _, index=index: order.append(index) for index in range(4)]
            begun = [jobs.begin([1, 2 + index], 1, note) for index, note in enumerate(notes)]
            for one in begun:
                await jobs.end(one)
            assert order == [0, 1, 2, 3]


async def test_two_replacements_between_two_answers_are_told_as_one():
    async with fake_swarm([*THREE, THREE[1], THREE[1]]) as swarm:
        async with jobs_in(swarm) as jobs:
            loop = asyncio.get_running_loop()
            seen = []

            def kill(tokens: int) -> None:
                if tokens != 3:
                    return
                used = jobs.pool.sessions[0].hops[1].peer_id
                seen.append(used)
                spare = [one for one in swarm.members if one.engine.span == THREE[1] and one.peer_id != used]
                for member in swarm.members:
                    if member.peer_id == used or member is spare[0]:
                        asyncio.run_coroutine_threadsafe(swarm.kill(member), loop).result()

            begun = jobs.begin([1, 2, 3], 8, kill)
            assert await jobs.end(begun) == await alone(swarm, [1, 2, 3], 8)
            (event,) = begun[0].replaced
            assert event.left == tuple(seen)
            assert len(event.joined) == 1
