"""A server that newcomers don't find says so once, and its record is kept by more members until they do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.server.layers import being_found
from p2pinfer.server.layers.being_found import AGAIN_SECONDS, EVERY_SECONDS, BeingFound, watch


def lines(outcomes: Sequence[bool | None]) -> list[str | None]:
    looks = BeingFound()
    return [looks.learn(outcome) for outcome in outcomes]


def test_one_look_in_vain_is_chance_and_two_are_told() -> None:
    first, second, third = lines([False, False, False])
    assert first is None
    assert second is not None and "don't find this server" in second
    assert third is None


def test_that_newcomers_find_it_again_is_told() -> None:
    assert lines([False, False, True])[-1] == "newcomers find this server again"
    assert lines([True, False, True, False, True]) == [None] * 5


def test_a_look_that_failed_says_nothing() -> None:
    assert lines([False, None, False])[1] is None
    assert lines([None] * 5) == [None] * 5


def test_after_a_look_in_vain_the_next_one_is_soon() -> None:
    looks = BeingFound()
    looks.learn(True)
    assert looks.next_seconds == EVERY_SECONDS
    looks.learn(False)
    assert looks.next_seconds == AGAIN_SECONDS


async def test_what_is_told_follows_the_looks_and_a_swarm_that_is_away_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FIRST_SECONDS", "EVERY_SECONDS", "AGAIN_SECONDS"):
        monkeypatch.setattr(being_found, name, 0.0)
    outcomes = iter([False, None, False, True])
    told: list[bool] = []
    enough = asyncio.Event()

    async def look() -> bool | None:
        if (outcome := next(outcomes, True)) is None:
            raise SwarmError("away")
        return outcome

    def tell(is_hidden: bool, line: str) -> None:
        told.append(is_hidden)
        if len(told) == 2:
            enough.set()

    watching = asyncio.create_task(watch(look, tell))
    await enough.wait()
    watching.cancel()

    assert told == [True, False]
