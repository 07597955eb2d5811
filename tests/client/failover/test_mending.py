"""Servers die, fall silent or send wrong answers in the middle of a text, and the text stays the same.

Servers are the real handler and runner over real sockets; the tests count how often each computed.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time

import numpy as np
import pytest

from p2pinfer.client.network import Network
from p2pinfer.client.session import InferenceSession
from p2pinfer.errors import NoRouteError, SwarmError
from p2pinfer.types import Span
from tests.client.disturbed import PROMPT, TOKENS, Mischief, computed, in_use, until
from tests.client.sessions import THREE, decode, in_client, session_of
from tests.fakes import (
    FakeEnds,
    FakeServer,
    fake_swarm,
    greedy_locally,
    run_locally,
)


@pytest.mark.parametrize("span", THREE, ids=["first", "middle", "last"])
async def test_when_a_hop_dies_the_others_compute_nothing_twice(span):
    """The hop before the gap replays its outputs, or the client its tokens; the other hops just go on."""
    async with fake_swarm([*THREE, span]) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                text = decode(
                    session, PROMPT, TOKENS, after=lambda i: mischief.kill(span) if i == 5 else None
                )
                assert session.replaced_hops == 1
                # the tokens that all hops held, and perhaps the step that found the gap
                assert session.replayed_tokens in (len(PROMPT) + 5, len(PROMPT) + 6)
                return text

        assert await in_client(swarm, work) == greedy_locally(PROMPT, TOKENS, 6)
        sent = len(PROMPT) + TOKENS - 1
        for member in swarm.members:
            if member.engine.span != span:  # the step that found the gap may have come this far
                assert computed(member) in (sent, sent + 1)


async def test_two_die_at_once_and_both_are_replaced():
    async with fake_swarm([*THREE, *THREE]) as swarm:
        mischief = Mischief(swarm)
        for spans in ((THREE[0], THREE[1]), (THREE[0], THREE[2]), (THREE[1], THREE[2])):
            for span in spans:
                await swarm.add(span)
            text = await in_client(
                swarm,
                lambda network, spans=spans: decode(
                    session_of(network),
                    PROMPT,
                    TOKENS,
                    after=lambda i: mischief.kill(*spans) if i == 5 else None,
                ),
            )
            assert text == greedy_locally(PROMPT, TOKENS, 6)


async def test_one_server_takes_the_place_of_two_and_two_that_of_one():
    """The replacements hold other spans: a gap is filled by any servers that cover it."""
    async with fake_swarm([*THREE, Span(0, 4), Span(4, 5), Span(5, 6)]) as swarm:
        mischief = Mischief(swarm)

        for other in swarm.members[3:]:
            other.draining = True  # so that the first route has these three

        def die(index: int) -> None:
            if index == 2:
                for other in swarm.members[3:]:
                    other.draining = False
            if index == 3:
                mischief.kill(THREE[0], THREE[1])
            if index == 7:
                mischief.kill(THREE[2])

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                text = decode(session, PROMPT, TOKENS, after=die)
                assert [hop.layers for hop in session.report()] == [Span(0, 4), Span(4, 5), Span(5, 6)]
                return text

        text = await in_client(swarm, work)
    assert text == greedy_locally(PROMPT, TOKENS, 6)


async def test_a_server_that_dies_in_a_long_prompt_is_replaced_and_what_was_answered_is_not_sent_again():
    prompt = [index % 32 for index in range(900)]
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm:
        mischief = Mischief(swarm)
        died = threading.Event()

        def work(network: Network):
            with session_of(network, max_length=1000) as session:
                killer = threading.Thread(target=lambda: (reached.wait(60), mischief.kill(THREE[1])))
                killer.start()
                hidden = session.compute([prompt], [len(prompt)])[0]
                killer.join()
                assert session.replaced_hops == 1
                return hidden

        reached = threading.Event()
        batches = iter(range(100))

        def at_the_fourth_batch() -> None:
            if next(batches) == 3:
                reached.set()
                died.wait(0.2)  # the batch is under way when its server goes

        for member in (swarm.members[1], swarm.members[3]):
            member.engine.before_forward = at_the_fourth_batch
        hidden = await in_client(swarm, work)
        assert computed(swarm.members[0]) < 2 * len(prompt)
    assert np.array_equal(hidden, run_locally(FakeEnds().embed(np.array(prompt)), 6))


async def test_the_replacement_dies_too_while_it_is_fed_and_another_takes_over():
    async with fake_swarm([*THREE, Span(2, 4), Span(2, 4)]) as swarm:
        mischief = Mischief(swarm)
        spares = [member for member in swarm.members if member.engine.span == THREE[1]]
        fatal = iter([True])

        def die_at_the_first_history() -> None:
            victims = [m for m in spares if m.open_sessions and m.open_sessions[0].tokens_run <= len(PROMPT)]
            if began.is_set() and victims and next(fatal, False):
                asyncio.run_coroutine_threadsafe(swarm.kill(victims[0]), mischief.loop)

        began = threading.Event()

        def at_five(index: int) -> None:
            if index == 5:
                began.set()
                for member in spares:
                    member.engine.before_forward = die_at_the_first_history
                mischief.kill(THREE[1])

        text = await in_client(
            swarm, lambda network: decode(session_of(network), PROMPT, TOKENS, after=at_five)
        )
    assert text == greedy_locally(PROMPT, TOKENS, 6)


async def test_rows_of_different_lengths_survive_in_one_session():
    async with fake_swarm([*THREE, *THREE]) as swarm:
        mischief = Mischief(swarm)
        ends = FakeEnds()

        def work(network: Network) -> list[list[int]]:
            rows = [[1], [2, 3, 4], list(range(30))]
            with session_of(network) as session:
                for index in range(TOKENS):
                    states = session.compute(rows, [1] * len(rows))
                    rows = [
                        [*row, int(ends.logits(hidden).argmax())]
                        for row, hidden in zip(rows, states, strict=True)
                    ]
                    if index in (2, 5, 8):
                        mischief.kill(THREE[(index - 2) // 3])
            return rows

        rows = await in_client(swarm, work)
    assert rows == [[*row, *greedy_locally(row, TOKENS, 6)] for row in ([1], [2, 3, 4], list(range(30)))]


async def test_a_session_kept_over_several_calls_and_rewound_survives_between_them():
    async with fake_swarm([*THREE, *THREE]) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[list[int]]:
            with session_of(network) as session:
                texts = [decode(session, PROMPT, 5)]
                mischief.kill(THREE[1])
                texts.append(decode(session, [*PROMPT, *texts[0]], 5))
                mischief.kill(THREE[0])
                texts.append(decode(session, [*PROMPT[:2], 9, 9], 5))
                return texts

        texts = await in_client(swarm, work)
    first = greedy_locally(PROMPT, 10, 6)
    assert texts == [first[:5], first[5:], greedy_locally([*PROMPT[:2], 9, 9], 5, 6)]


async def test_no_holder_left_the_session_waits_and_goes_on_when_one_returns(caplog):
    async with fake_swarm(THREE) as swarm:
        mischief = Mischief(swarm)

        def return_later() -> None:
            until(lambda: "no server for layers 2-3" in caplog.text)
            asyncio.run_coroutine_threadsafe(swarm.add(THREE[1]), mischief.loop).result()

        def at_five(index: int) -> None:
            if index == 5:
                mischief.kill(THREE[1])
                threading.Thread(target=return_later).start()

        def work(network: Network) -> list[int]:
            with session_of(network, route=10.0) as session:
                return decode(session, PROMPT, TOKENS, after=at_five)

        assert await in_client(swarm, work) == greedy_locally(PROMPT, TOKENS, 6)
        sent = len(PROMPT) + TOKENS - 1
        assert computed(swarm.members[0]) in (sent, sent + 1)  # it kept its caches meanwhile


async def test_when_the_limit_passes_the_error_holds_the_text_so_far():
    async with fake_swarm(THREE) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> None:
            with session_of(network, route=0.2) as session:
                decode(session, PROMPT, TOKENS, after=lambda i: mischief.kill(THREE[1]) if i == 5 else None)

        with pytest.raises(NoRouteError, match="layers 2-3") as error:
            await in_client(swarm, work)
    assert error.value.rows == [PROMPT + greedy_locally(PROMPT, 6, 6)]
    assert str(error.value).endswith("(waited 0 s)")  # no argument is named that the user may not have


async def test_after_an_error_the_servers_keep_nothing_and_the_session_can_be_used_again():
    async with fake_swarm(THREE) as swarm:
        mischief = Mischief(swarm)

        def work(network: Network) -> list[int]:
            session: InferenceSession
            with session_of(network, route=0.2) as session:
                decode(session, PROMPT, 2)
                mischief.kill(THREE[2])
                with pytest.raises(NoRouteError):
                    decode(session, PROMPT, 3)
                until(lambda: not any(member.open_sessions for member in swarm.members))
                asyncio.run_coroutine_threadsafe(swarm.add(THREE[2]), mischief.loop).result()
                return decode(session, PROMPT, 3)

        assert await in_client(swarm, work) == greedy_locally(PROMPT, 3, 6)


async def test_a_client_whose_loop_has_stopped_is_told_so_and_the_servers_free_its_memory_within_the_lease():
    async with fake_swarm(THREE, idle_seconds=0.3) as swarm:
        expiring = [asyncio.create_task(member.sessions.expire_forever()) for member in swarm.members]

        def work(network: Network) -> None:
            session = session_of(network)
            decode(session, PROMPT, 3)
            network.call_soon(lambda: asyncio.get_running_loop().stop())
            until(lambda: not network.is_running)
            until(lambda: not any(member.open_sessions for member in swarm.members))
            with pytest.raises(SwarmError, match="load the model again"):
                session.compute([PROMPT], [1])
            session.close()

        await in_client(swarm, work)
        for task in expiring:
            task.cancel()
        assert all(member.sessions.free_cache_tokens == member.cache_tokens for member in swarm.members)


async def test_an_interrupted_generation_frees_the_servers_memory_at_once():
    async with fake_swarm(THREE) as swarm:

        def interrupt() -> None:
            if began.is_set():
                _thread_interrupt(caller[0])
                time.sleep(0.05)

        began = threading.Event()
        caller: list[int] = []

        def work(network: Network) -> None:
            caller.append(threading.get_ident())
            session = session_of(network)
            decode(session, PROMPT, 3)
            swarm.members[1].engine.before_forward = interrupt
            began.set()
            with pytest.raises(KeyboardInterrupt):
                decode(session, PROMPT, 300)
            began.clear()
            until(lambda: not any(member.open_sessions for member in swarm.members))

        await in_client(swarm, work)


def _thread_interrupt(thread: int) -> None:
    """Raise KeyboardInterrupt in a thread, as Ctrl-C does in the main thread."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))


@pytest.mark.parametrize("span", THREE, ids=["first", "middle", "last"])
async def test_a_server_that_answers_nonsense_is_found_out_and_replaced(span):
    """The next hop refuses values that are not numbers, and the hop that sent them is replaced."""
    async with fake_swarm([*THREE, *THREE]) as swarm:
        liars: list[FakeServer] = []

        def begin_to_lie(index: int) -> None:
            if index == 4:
                liars.append(in_use(swarm, span))
                liars[0].engine.spoil = lambda hidden: np.full_like(hidden, np.nan)

        def work(network: Network) -> list[int]:
            with session_of(network) as session:
                text = decode(session, PROMPT, TOKENS, after=begin_to_lie)
                assert liars[0].peer_id not in [hop.peer_id for hop in session.report()]
                return text

        assert await in_client(swarm, work) == greedy_locally(PROMPT, TOKENS, 6)


async def test_a_hop_that_holds_a_step_for_too_long_is_replaced_though_it_answers():
    async with fake_swarm([*THREE, Span(2, 4)]) as swarm:
        let_go = threading.Event()

        def work(network: Network) -> list[int]:
            with session_of(network, step=0.8) as session:

                def hang(index: int) -> None:
                    if index == 4:
                        in_use(swarm, THREE[1]).engine.before_forward = let_go.wait

                text = decode(session, PROMPT, TOKENS, after=hang)
                let_go.set()
                assert session.replaced_hops == 1
                return text

        assert await in_client(swarm, work) == greedy_locally(PROMPT, TOKENS, 6)
