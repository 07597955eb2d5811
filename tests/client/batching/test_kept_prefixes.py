"""What hops have kept is recalled in later sessions, and texts are what they are without."""

from __future__ import annotations

import asyncio

import pytest

from p2pinfer.client.prefixes.scope import Scope
from p2pinfer.identity import Identity
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.step_kind import StepKind
from tests.client.batching.jobs import Jobs, jobs_in
from tests.client.disturbed import computed
from tests.client.sessions import THREE
from tests.fakes import VOCABULARY, FakeServer, FakeSwarm, fake_swarm, greedy_locally

STEM = [index * 7 % VOCABULARY for index in range(150)]
LIMITS = {"shortest_row": 512, "session_tokens": 16 * 512, "rows": 4}
ALICE = Identity.ephemeral()


def text_of(*ending: int, count: int = 5) -> list[int]:
    return greedy_locally([*STEM, *ending], count, 6)


async def sessions_gone(swarm: FakeSwarm) -> None:
    async with asyncio.timeout(30):
        while any(len(member.sessions) for member in swarm.members):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def all_kept(swarm: FakeSwarm, number: int = 1) -> None:
    """Wait until every server keeps so many prefixes."""
    async with asyncio.timeout(30):
        while any(len(member.batcher.prefixes) < number for member in swarm.members):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def end_sessions(jobs: Jobs, swarm: FakeSwarm) -> None:
    """As if nobody had asked anything for a while."""
    for session in jobs.pool.sessions:
        jobs.pool._end(session)
    await sessions_gone(swarm)


async def settled(swarm: FakeSwarm) -> None:
    """Wait until the client has signed for everything."""
    async with asyncio.timeout(30):
        while any(member.accounts.unsigned_tokens for member in swarm.members):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def kept_by(member: FakeServer) -> int:
    """How many prefixes a server keeps, when its thread has done what it was called for."""
    await member.runner._thread.ask(lambda: None)
    return len(member.batcher.prefixes)


def forget(member: FakeServer) -> None:
    """Drop what a server keeps, as if it had needed the memory."""
    member.runner.limit_prefixes(0)
    member.sessions.leave_rest_to(member.runner.limit_prefixes)


def work(member: FakeServer) -> int:
    return sum(done.tokens for _, done in member.book.sessions)


async def test_a_text_of_another_session_begins_with_what_was_kept():
    async with fake_swarm(THREE, cache_tokens=16384) as swarm:
        async with jobs_in(swarm, **LIMITS) as jobs:
            assert await jobs.text([*STEM, 1], 5) == text_of(1)
            await all_kept(swarm)
            await end_sessions(jobs, swarm)
            before = [computed(member) for member in swarm.members]
            assert before == [155] * 3
            begun = jobs.begin([*STEM, 2], 5)
            assert await jobs.end(begun) == text_of(2)
            assert begun[0].cached_tokens == 150
            assert [computed(member) for member in swarm.members] == [160] * 3


async def test_it_works_after_a_restart_under_the_same_identity_if_told_how_much_is_shared():
    async with fake_swarm(THREE, cache_tokens=16384) as swarm:
        for ending, cached in ((1, 0), (2, 150)):
            async with jobs_in(swarm, identity=ALICE, **LIMITS) as jobs:
                begun = jobs.begin([*STEM, ending], 5, shared_prefix_tokens=150)
                assert await jobs.end(begun) == text_of(ending)
                assert begun[0].cached_tokens == cached
                await all_kept(swarm)
            await sessions_gone(swarm)


async def test_another_identity_finds_nothing_and_another_scope_neither():
    async with fake_swarm(THREE, cache_tokens=65536) as swarm:
        for identity, scope in ((ALICE, Scope()), (Identity.ephemeral(), Scope()), (ALICE, Scope("key"))):
            async with jobs_in(swarm, identity=identity, **LIMITS) as jobs:
                begun = jobs.begin([*STEM, 1], 5, shared_prefix_tokens=150, scope=scope)
                assert await jobs.end(begun) == text_of(1)
                assert begun[0].cached_tokens == 0
                await all_kept(swarm)
            await sessions_gone(swarm)


async def test_a_salt_is_shared_on_purpose_and_another_one_finds_nothing():
    async with fake_swarm(THREE, cache_tokens=65536) as swarm:
        for salt, cached in (("a", 0), ("a", 150), ("b", 0)):
            async with jobs_in(swarm, **LIMITS) as jobs:  # an identity of its own each
                scope = Scope(salt, is_shared=True)
                begun = jobs.begin([*STEM, 1], 5, shared_prefix_tokens=150, scope=scope)
                assert await jobs.end(begun) == text_of(1)
                assert begun[0].cached_tokens == cached
                await all_kept(swarm)
            await sessions_gone(swarm)


async def test_texts_of_two_scopes_share_no_row_either():
    async with fake_swarm(THREE, cache_tokens=16384) as swarm:
        async with jobs_in(swarm, **LIMITS) as jobs:
            assert await jobs.text([*STEM, 1], 5) == text_of(1)
            begun = jobs.begin([*STEM, 1], 5, scope=Scope("other"))
            assert await jobs.end(begun) == text_of(1)
            assert begun[0].cached_tokens == 0


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_hop_that_has_forgotten_is_fed_by_its_neighbour(place: int):
    async with fake_swarm(THREE, cache_tokens=16384) as swarm:
        async with jobs_in(swarm, **LIMITS) as jobs:
            assert await jobs.text([*STEM, 1], 5) == text_of(1)
            await all_kept(swarm)
            await end_sessions(jobs, swarm)
            forgetful = swarm.members[place]
            forget(forgetful)
            begun = jobs.begin([*STEM, 2], 5)
            assert await jobs.end(begun) == text_of(2)
            assert begun[0].cached_tokens == 0  # some hop has computed it
            assert [computed(member) - 155 for member in swarm.members] == [
                5 if hop < place else 155 for hop in range(3)
            ]
            await all_kept(swarm)
            await end_sessions(jobs, swarm)
            await settled(swarm)
            assert [work(member) - 155 for member in swarm.members] == [
                5 if hop < place else 155 for hop in range(3)
            ]
            again = jobs.begin([*STEM, 3], 5)
            assert await jobs.end(again) == text_of(3)
            assert again[0].cached_tokens == 150


async def test_what_several_texts_begin_with_is_kept_once():
    async with fake_swarm(THREE, cache_tokens=65536) as swarm:
        async with jobs_in(swarm, identity=ALICE, **LIMITS) as jobs:
            begun = [jobs.begin([*STEM, ending], 5, is_background=True) for ending in range(4)]
            assert [await jobs.end(one) for one in begun] == [text_of(ending) for ending in range(4)]
            await all_kept(swarm, 1)
        await sessions_gone(swarm)
        assert [len(member.batcher.prefixes) for member in swarm.members] == [1, 1, 1]


async def test_what_is_kept_counts_as_free_and_goes_when_a_lease_needs_the_room():
    async with fake_swarm(THREE, cache_tokens=4096) as swarm:
        async with jobs_in(swarm, **LIMITS) as jobs:
            assert await jobs.text([*STEM, 1], 5) == text_of(1)
            await all_kept(swarm)
            await end_sessions(jobs, swarm)
            first = swarm.members[0]
            assert first.sessions.free_cache_tokens == 4096
            with first.sessions.reserved(4096 - 160):
                assert await kept_by(first) == 1
            with first.sessions.reserved(4096 - 159):
                assert await kept_by(first) == 0
            assert await jobs.text([*STEM, 2], 5) == text_of(2)


async def test_when_a_server_ends_or_goes_to_other_layers_nothing_is_left():
    async with fake_swarm(THREE, cache_tokens=4096) as swarm:
        async with jobs_in(swarm, **LIMITS) as jobs:
            assert await jobs.text([*STEM, 1], 5) == text_of(1)
            await all_kept(swarm)
        caches = [kept.cache for member in swarm.members for kept in member.batcher.prefixes._kept.values()]
        for member in swarm.members:
            await member.stop()
            assert len(member.batcher.prefixes) == 0
        assert all(cache.released for cache in caches)


async def test_servers_whose_memory_is_leased_keep_nothing_and_answer_all_the_same():
    async with fake_swarm(THREE, cache_tokens=4 * 512) as swarm:
        for ending in (1, 2):
            async with jobs_in(swarm, identity=ALICE, **LIMITS) as jobs:
                begun = jobs.begin([*STEM, ending], 5, shared_prefix_tokens=150)
                assert await jobs.end(begun) == text_of(ending)
                assert begun[0].cached_tokens == 0
            await sessions_gone(swarm)
        assert [len(member.batcher.prefixes) for member in swarm.members] == [0] * 3


@pytest.mark.parametrize("place", [None, 1, 2])
async def test_activations_that_are_rounded_on_the_way_are_recalled_and_fed_as_they_were(place: int | None):
    async def texts(*, reuses: bool) -> list[list[int]]:
        found = []
        async with fake_swarm(THREE, cache_tokens=16384) as swarm:
            async with jobs_in(swarm, wire_dtype=pb.INT8, reuses=reuses, **LIMITS) as jobs:
                for ending in (1, 2):
                    found.append(await jobs.text([*STEM, ending], 20))
                    if reuses and ending == 1:
                        await all_kept(swarm)
                    await end_sessions(jobs, swarm)
                    if place is not None:
                        forget(swarm.members[place])
                recalled = [computed(member) - 170 for member in swarm.members]
        assert recalled == [20 if reuses and (place is None or hop < place) else 170 for hop in range(3)]
        return found

    assert await texts(reuses=True) == await texts(reuses=False)


async def test_without_reuse_every_text_is_computed():
    async with fake_swarm(THREE, cache_tokens=65536) as swarm:
        async with jobs_in(swarm, reuses=False, **LIMITS) as jobs:
            begun = [jobs.begin([*STEM, 1], 5, shared_prefix_tokens=150) for _ in range(3)]
            assert [await jobs.end(one) for one in begun] == [text_of(1)] * 3
            begun.append(jobs.begin([*STEM, 1], 5))
            assert await jobs.end(begun[-1]) == text_of(1)
            assert [job.cached_tokens for job, _ in begun] == [0] * 4
            await end_sessions(jobs, swarm)
            await settled(swarm)
        assert [len(member.batcher.prefixes) for member in swarm.members] == [0] * 3
        assert [work(member) for member in swarm.members] == [4 * 155] * 3


@pytest.mark.parametrize("span", THREE)
async def test_a_recalled_text_survives_the_loss_of_a_hop(span: Span):
    """The new hop is told what nobody has computed in this session."""
    async with fake_swarm(THREE, cache_tokens=16384, receipt_tokens=256) as swarm:
        async with jobs_in(swarm, **LIMITS) as jobs:
            assert await jobs.text([*STEM, 1], 5) == text_of(1)
            await all_kept(swarm)
            await end_sessions(jobs, swarm)
            spare = await swarm.add(span)
            loop = asyncio.get_running_loop()
            lost = []

            def kill(number: int) -> None:
                if number == 3:
                    victim = next(
                        member
                        for member in swarm.members
                        if member.engine.span == span and len(member.sessions)
                    )
                    lost.append(victim)
                    asyncio.run_coroutine_threadsafe(swarm.kill(victim), loop).result()

            begun = jobs.begin([*STEM, 2], 12, kill)
            assert await jobs.end(begun) == text_of(2, count=12)
            if lost != [spare]:
                assert begun[0].cached_tokens in (0, 150)
                assert computed(spare) >= 150


@pytest.mark.parametrize("place", range(3))
async def test_a_hop_that_dies_while_it_keeps_the_last_text_costs_the_next_one_nothing_but_time(place: int):
    async with fake_swarm(THREE, cache_tokens=65536) as swarm:
        async with jobs_in(swarm, route=10.0, **LIMITS) as jobs:
            victim, died = swarm.members[place], []
            loop, add = asyncio.get_running_loop(), victim.batcher.copies.add

            def die(work) -> None:
                if not died:
                    died.append(asyncio.run_coroutine_threadsafe(swarm.kill(victim), loop))
                else:
                    add(work)

            victim.batcher.copies.add = die
            assert await jobs.text([*STEM, 1], 5) == text_of(1)
            async with asyncio.timeout(30):
                while not (died and died[0].done()):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            await swarm.add(THREE[place])
            swarm.members.remove(victim)
            assert await jobs.text([*STEM, 2], 5) == text_of(2)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *((kind, place) for kind in (StepKind.KEEP, StepKind.RECALL) for place in range(3)),
        (StepKind.FEED, 0),
        (StepKind.FEED, 1),
    ],
)
async def test_a_hop_that_dies_at_a_step_of_prefixes_changes_no_text(kind: StepKind, place: int):
    async with fake_swarm(THREE, cache_tokens=65536) as swarm:
        async with jobs_in(swarm, route=10.0, **LIMITS) as jobs:
            if kind is not StepKind.KEEP:  # else it comes when the texts below are found to begin alike
                assert await jobs.text([*STEM, 1], 5) == text_of(1)
                await all_kept(swarm)
                await end_sessions(jobs, swarm)
            if kind is StepKind.FEED:
                forget(swarm.members[2])
            victim = swarm.members[place]
            loop, died = asyncio.get_running_loop(), []
            add = victim.batcher.copies.add

            def die(work) -> None:
                if not died and victim.open_sessions[0].stream._step.kind is kind:
                    died.append(victim)
                    asyncio.run_coroutine_threadsafe(replace(), loop)
                else:
                    add(work)

            async def replace() -> None:
                await swarm.add(THREE[place])
                swarm.members.remove(victim)
                await swarm.kill(victim)

            victim.batcher.copies.add = die
            begun = [jobs.begin([*STEM, ending], 20) for ending in (2, 3)]
            assert [await jobs.end(one) for one in begun] == [text_of(2, count=20), text_of(3, count=20)]
            assert died
