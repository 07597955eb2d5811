"""The memory of bodies that come."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from p2pinfer.fairness.sources import Source
from p2pinfer.http.bodies import Bodies, BodyGivenUpError

CROWD, OTHER = Source("crowd"), Source("other")


async def never() -> Message:
    """A part that doesn't come."""
    await asyncio.Event().wait()
    raise AssertionError


async def part() -> Message:
    """Ten bytes."""
    return {"type": "http.request", "body": b"x" * 10, "more_body": True}


async def test_when_memory_is_short_the_oldest_of_the_largest_source_is_given_up():
    """Also while it waits for its next part."""
    bodies = Bodies(30)
    with (
        bodies.arriving(CROWD) as first,
        bodies.arriving(CROWD) as second,
        bodies.arriving(OTHER) as other,
    ):
        await first.part(part)
        await second.part(part)
        waiting = asyncio.create_task(first.part(never))
        await asyncio.sleep(0)
        await other.part(part)
        assert bodies.bytes_taken == 30
        await other.part(part)
        with pytest.raises(BodyGivenUpError, match="again"):
            await waiting
        with pytest.raises(BodyGivenUpError):
            await first.part(part)
        assert bodies.bytes_taken == 30
    assert bodies.bytes_taken == 0


async def test_a_source_alone_may_have_everything_and_no_more():
    bodies = Bodies(15)
    with bodies.arriving(CROWD) as only:
        await only.part(part)
        with pytest.raises(BodyGivenUpError):
            await only.part(part)
    assert bodies.bytes_taken == 0


async def test_what_is_there_counts_no_longer():
    bodies = Bodies(15)
    with bodies.arriving(CROWD) as one, bodies.arriving(CROWD) as other:
        await one.part(part)
        one.is_there()
        await other.part(part)
        assert bodies.bytes_taken == 10


async def test_being_cancelled_is_not_being_given_up():
    bodies = Bodies(15)
    with bodies.arriving(CROWD) as arrival:
        waiting = asyncio.create_task(arrival.part(never))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
