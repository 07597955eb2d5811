"""Several ways are tried side by side: the first that stands is taken, and nothing else is left open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from p2pinfer.errors import PeerGoneError, SwarmError
from p2pinfer.swarm.reach.staggered import first_success
from tests.simulator.clock import in_virtual_time

HEAD_START = 0.5


class Ways:
    """Pretended ways: each stands after so many seconds, or raises its error then."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.ended: set[str] = set()
        self.undone: list[str] = []

    def way(
        self, name: str, seconds: float, error: Exception | None = None, *, is_stubborn: bool = False
    ) -> Callable[[], Coroutine[Any, Any, str]]:
        async def attempt() -> str:
            self.started[name] = asyncio.get_running_loop().time()
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                if not is_stubborn:
                    raise
            finally:
                self.ended.add(name)
            if error is not None:
                raise error
            return name

        return attempt

    def run(self, *attempts: Callable[[], Coroutine[Any, Any, str]]) -> tuple[str, float]:
        async def undo(name: str) -> None:
            self.undone.append(name)

        async def go() -> tuple[str, float]:
            loop = asyncio.get_running_loop()
            began = loop.time()
            found = await first_success(attempts, HEAD_START, undo)
            self.started = {name: at - began for name, at in self.started.items()}
            return found, loop.time() - began

        return in_virtual_time(go())


def test_every_error_is_told_when_every_way_fails():
    ways = Ways()
    gone = PeerGoneError("gone")
    with pytest.raises(ExceptionGroup) as raised:
        ways.run(ways.way("a", 0.1, SwarmError("no")), ways.way("b", 9.0, gone))
    assert [str(error) for error in raised.value.exceptions] == ["no", "gone"]


def test_a_way_that_fails_lets_the_next_begin_at_once_and_a_slow_one_after_its_head_start():
    ways = Ways()
    attempts = [
        ways.way("fails", 0.1, SwarmError("no")),
        ways.way("slow", 9.0),
        ways.way("quick", 0.2),
        ways.way("last", 0.0),
    ]
    assert ways.run(*attempts) == ("quick", pytest.approx(0.8))
    assert ways.started == {"fails": 0.0, "slow": pytest.approx(0.1), "quick": pytest.approx(0.6)}
    assert ways.ended == ways.started.keys()
    assert not ways.undone


def test_the_first_has_all_its_time_while_others_are_tried():
    ways = Ways()
    assert ways.run(ways.way("first", 0.7), ways.way("second", 9.0)) == ("first", pytest.approx(0.7))


def test_what_stands_too_late_is_undone():
    """Two at the same moment, and one that can't be stopped any more."""
    ways = Ways()
    found, _ = ways.run(ways.way("a", 0.5), ways.way("b", 9.0, is_stubborn=True), ways.way("c", 9.0))
    assert found == "a"
    ways = Ways()
    found, _ = ways.run(ways.way("a", 1.0), ways.way("b", 0.5))
    assert [found, *ways.undone] in (["a", "b"], ["b", "a"])
    ways = Ways()
    found, _ = ways.run(ways.way("a", 0.6), ways.way("b", 9.0, is_stubborn=True))
    assert (found, ways.undone) == ("a", ["b"])


def test_an_error_of_ours_ends_all_of_it():
    ways = Ways()
    with pytest.raises(KeyError):
        ways.run(ways.way("slow", 9.0), ways.way("broken", 0.1, KeyError("ours")))
    assert ways.ended == {"slow", "broken"}
    with pytest.raises(KeyError):
        ways.run(ways.way("slow", 9.0, is_stubborn=True), ways.way("broken", 0.1, KeyError("ours")))
    assert ways.undone == ["slow"]


def test_who_gives_up_leaves_nothing_behind():
    ways = Ways()

    async def impatient() -> str:
        async def undo(name: str) -> None:
            ways.undone.append(name)

        async with asyncio.timeout(1.0):
            attempts = [ways.way("a", 9.0), ways.way("b", 9.0, is_stubborn=True)]
            return await first_success(attempts, HEAD_START, undo)

    with pytest.raises(TimeoutError):
        in_virtual_time(impatient())
    assert ways.ended == {"a", "b"}
    assert ways.undone == ["b"]


def test_who_gives_up_while_the_slower_ways_end_gets_nothing_and_leaves_nothing() -> None:
    """The way that stood was nobody's: its stream was open until p2pd ended."""
    undone: list[str] = []

    async def ends_slowly() -> str:
        try:
            await asyncio.sleep(9.0)
        finally:
            await asyncio.sleep(2.0)
        return "slow"

    async def stands() -> str:
        return "stands"

    async def undo(name: str) -> None:
        undone.append(name)

    async def impatient() -> str:
        async with asyncio.timeout(1.0):  # the second way begins, and stands, after 0.5 s
            return await first_success([ends_slowly, stands], HEAD_START, undo)

    with pytest.raises(TimeoutError):
        in_virtual_time(impatient())
    assert undone == ["stands"]
