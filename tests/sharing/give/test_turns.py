"""A few are served at a time, in order; a bounded number waits; nobody's turn gets lost."""

from __future__ import annotations

import asyncio

import pytest

from p2pinfer.sharing.give.turns import Places, Turns
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.wire.status import Reason, Refused


async def hold(turns: Turns, log: list[str], name: str, until: asyncio.Event) -> None:
    """Take a turn, say so, and keep it."""
    async with turns.taken():
        log.append(name)
        await until.wait()


async def test_turns_are_given_in_order_and_too_many_are_refused():
    """One is served, two wait, the fourth is told to come back."""
    turns, log, end = Turns(1, 2, 60.0, 7.0), [], asyncio.Event()
    tasks = [asyncio.create_task(hold(turns, log, name, end)) for name in "abc"]
    await asyncio.sleep(0)

    with pytest.raises(Refused) as caught:
        async with turns.taken():
            pass
    assert (caught.value.reason, caught.value.retry_after_seconds) == (Reason.BUSY, 7.0)
    assert log == ["a"]
    end.set()
    await asyncio.gather(*tasks)
    assert log == ["a", "b", "c"]


async def test_who_gives_up_waiting_takes_no_turn_with_it():
    """Also at the moment at which its turn comes."""
    turns, log, end = Turns(1, 9, 60.0, 1.0), [], asyncio.Event()
    first, second, third = (asyncio.create_task(hold(turns, log, name, end)) for name in "abc")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)  # the second has its turn, and doesn't know it yet
    second.cancel()
    end.set()
    await third

    assert "c" in log
    async with asyncio.timeout(30), turns.taken():
        pass


async def test_a_wait_ends():
    """With the same answer as no place to wait."""
    turns, end = Turns(1, 9, 0.01, 1.0), asyncio.Event()
    holder = asyncio.create_task(hold(turns, [], "a", end))
    await asyncio.sleep(0)

    with pytest.raises(Refused):
        async with turns.taken():
            pass
    end.set()
    await holder
    async with turns.taken():
        pass


async def test_places_are_given_back():
    """Whatever happens to those who had them."""
    places = Places(1, 3.0)

    async def fail() -> None:
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            await places.take(fail())


async def test_the_oldest_gives_its_place_to_a_newcomer():
    """And is told that it's busy; the others stay."""
    places = Places(2, 3.0)
    works = []
    for _ in range(4):
        works.append(asyncio.create_task(places.take(asyncio.Event().wait())))
        await asyncio.sleep(0)
    await asyncio.wait(works[:2])

    for work in works[:2]:
        with pytest.raises(Refused) as caught:
            await work
        assert (caught.value.reason, caught.value.retry_after_seconds) == (Reason.BUSY, 3.0)
    assert not any(work.done() for work in works[2:])
    await cancel_and_wait(*works[2:])
