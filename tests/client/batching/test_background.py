"""Texts in the background take the rows that are left, and give them to texts that somebody waits for."""

from __future__ import annotations

import asyncio

import pytest

from p2pinfer.client.batching.background_room import BackgroundRoom
from p2pinfer.errors import UsageError
from tests.client.batching.jobs import SECONDS, jobs_in
from tests.client.batching.test_row_pool import PROMPTS, alone
from tests.client.sessions import THREE
from tests.fakes import fake_swarm

QUESTION = [7, 8, 9]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_question_does_not_wait_until_documents_have_ended():
    async with fake_swarm(THREE) as swarm:
        expected = [await alone(swarm, prompt, 200) for prompt in PROMPTS[:3]]
        answer = await alone(swarm, QUESTION, 3)
        async with jobs_in(swarm, rows=2, sessions=1, shortest_row=256) as jobs:
            has_begun = asyncio.Event()
            loop = asyncio.get_running_loop()
            documents = [
                jobs.begin(
                    prompt, 200, lambda _: loop.call_soon_threadsafe(has_begun.set), is_background=True
                )
                for prompt in PROMPTS[:3]
            ]
            await has_begun.wait()
            assert await jobs.end(jobs.begin(QUESTION, 3)) == answer
            assert not all(job.has_ended for job, _ in documents)
            assert [await jobs.end(one) for one in documents] == expected


async def test_a_document_does_not_give_way_to_documents():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, rows=1, sessions=1) as jobs:
            documents = [jobs.begin(prompt, 4, is_background=True) for prompt in PROMPTS[:3]]
            for job, _ in documents:
                assert not job.gives_way
            for one in documents:
                await jobs.end(one)


async def test_a_document_that_is_cancelled_while_it_gives_way_is_gone():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, rows=1, sessions=1) as jobs:
            document, _ = jobs.begin(PROMPTS[0], 50, is_background=True)
            question = jobs.begin(QUESTION, 3)
            jobs.pool.cancel(document)
            await jobs.end(question)
            assert (jobs.pool.waiting, document.has_ended) == (0, False)


async def test_a_question_and_a_document_never_share_a_session():
    """A session's steps come in order: the question would wait for the document's."""
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm) as jobs:
            document = jobs.begin(PROMPTS[0], 4, is_background=True)
            question = jobs.begin(PROMPTS[1], 4)
            await jobs.end(document)
            await jobs.end(question)
            assert sorted(session.shape.is_patient for session in jobs.pool.sessions) == [False, True]


async def test_documents_give_their_memory_to_a_question_where_servers_have_no_more():
    async with fake_swarm(THREE, cache_tokens=256) as swarm:
        expected = [await alone(swarm, prompt, 30) for prompt in PROMPTS[:3]]
        answer = await alone(swarm, QUESTION, 3)
        async with jobs_in(swarm, shortest_row=256, route=60.0) as jobs:  # the room comes back within seconds
            has_begun = asyncio.Event()
            loop = asyncio.get_running_loop()
            options = {"is_background": True, "most_new_tokens": 30}
            documents = [
                jobs.begin(prompt, 30, lambda _: loop.call_soon_threadsafe(has_begun.set), **options)
                for prompt in PROMPTS[:3]
            ]
            await has_begun.wait()
            assert await jobs.end(jobs.begin(QUESTION, 3)) == answer
            # Else the documents wait until it has been unused for a while. Its row ends after its text.
            async with asyncio.timeout(SECONDS):
                while not jobs.pool._end_unused(  # noqa: ASYNC110
                    jobs.pool._sessions_for(is_patient=False)
                ):
                    await asyncio.sleep(0)
            assert [await jobs.end(one) for one in documents] == expected


async def test_documents_take_no_room_while_a_question_is_about_to():
    """Else they take what others of them have just left to it, again and again."""
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm) as jobs:
            question = jobs.begin(QUESTION, 3)
            document = jobs.begin(PROMPTS[0], 3, is_background=True)
            jobs.pool._have_gathered()
            assert [session.shape.is_patient for session in jobs.pool.sessions] == [False]
            await jobs.end(question)
            await jobs.end(document)


async def test_rows_of_documents_are_as_long_as_the_longest_that_waits():
    """Leases are for whole rows: 1,100 tokens in rows of 4,096 would take four times the servers' memory."""
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm, session_tokens=4096) as jobs:
            options = {"is_background": True, "most_new_tokens": 4}
            documents = [jobs.begin([1] * length, 4, **options) for length in (100, 300, 260)]
            for begun in documents:
                await jobs.end(begun)
            assert [session.shape.max_tokens for session in jobs.pool.sessions] == [512]


async def test_room_is_for_as_many_as_have_rows_and_a_few_more():
    running = 3
    room = BackgroundRoom(lambda: running)
    taken = [asyncio.create_task(room.acquire()) for _ in range(30)]
    await settled()
    assert sum(task.done() for task in taken) == 3 + 16

    running = 5
    room.look()
    await settled()
    assert sum(task.done() for task in taken) == 5 + 16

    room.release()
    await settled()
    assert sum(task.done() for task in taken) == 5 + 16 + 1
    for task in taken:
        task.cancel()


async def test_who_no_longer_waits_for_room_takes_none():
    room = BackgroundRoom(lambda: 0)
    for _ in range(16):
        await room.acquire()
    first, second = asyncio.create_task(room.acquire()), asyncio.create_task(room.acquire())
    await settled()
    first.cancel()
    room.release()
    await asyncio.wait_for(second, 30)

    third = asyncio.create_task(room.acquire())
    await settled()
    room.release()  # its turn has come when it is cancelled
    third.cancel()
    await settled()
    await asyncio.wait_for(room.acquire(), 30)


async def test_nobody_waits_for_room_in_a_pool_that_is_closed():
    async with fake_swarm(THREE) as swarm:
        async with jobs_in(swarm) as jobs:
            room = jobs.pool.background_room
            waiting = [asyncio.create_task(room.acquire()) for _ in range(20)]
            await settled()
            jobs.pool.close()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert sum(isinstance(one, UsageError) for one in ended) == 4
            with pytest.raises(UsageError):
                await room.acquire()
