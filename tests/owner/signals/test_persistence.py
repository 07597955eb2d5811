"""Trying again."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from p2pinfer.owner.signals.aside import aside
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.persistence import Pauses, keep_connected, keep_looking, together
from p2pinfer.owner.signals.reach import reach
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.trouble import SourceError
from tests.owner.signals.watching import Watch, eventually, free_port, running


async def _pauses(
    monkeypatch, errors: list[SourceError], pauses: Pauses, *, held: bool = False
) -> list[float]:
    """How long was slept after each of these ends of a connection."""
    slept: list[float] = []
    left = list(errors)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def connection(established) -> None:
        if held:
            established()
        if not left:
            raise asyncio.CancelledError
        raise left.pop(0)

    monkeypatch.setattr("p2pinfer.owner.signals.persistence.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await keep_connected(Watch().known, "it", [], connection, pauses)
    return slept


async def test_pauses_grow(monkeypatch):
    error = SourceError("x", kind="x")
    slept = await _pauses(monkeypatch, [error] * 8, Pauses())
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


async def test_whoever_refuses_us_is_asked_rarely(monkeypatch):
    error = SourceError("x", kind="x", hopeless=True)
    assert await _pauses(monkeypatch, [error] * 2, Pauses()) == [60.0, 60.0]


async def test_a_source_that_takes_us_in_only_to_throw_us_out_is_not_hammered(monkeypatch):
    error = SourceError("x", kind="x")
    assert await _pauses(monkeypatch, [error] * 4, Pauses(), held=True) == [0.5, 1.0, 2.0, 4.0]


async def test_a_connection_that_held_earns_a_fresh_start(monkeypatch):
    error = SourceError("x", kind="x")
    pauses = Pauses(first_seconds=1e-9)  # whatever held at all held longer than that
    assert await _pauses(monkeypatch, [error] * 3, pauses, held=True) == [1e-9, 1e-9, 1e-9]


async def test_parts_end_together_and_the_first_says_why():
    ended = []

    async def stay() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("stay")

    async def fail() -> None:
        raise SourceError("broken", kind="broken")

    with pytest.raises(SourceError, match="broken"):
        await together(stay(), fail())
    assert ended == ["stay"]


async def test_a_part_that_gives_itself_up_is_no_cancellation_of_ours():
    """hass_client cancels the questions that wait when its connection ends."""

    async def give_up() -> None:
        raise asyncio.CancelledError

    async def stay() -> None:
        await asyncio.Event().wait()

    with pytest.raises(SourceError, match="connection was lost"):
        await together(give_up(), stay())


async def test_a_look_that_blocks_is_named_waited_for_and_holds_nobody_up():
    release = threading.Event()
    watch = Watch()
    looks = 0

    def look() -> Told:
        nonlocal looks
        looks += 1
        release.wait(10.0)
        return Told(value=True, words="yes")

    looking = keep_looking(
        watch.known,
        Signal.PARKED,
        origin="sensor",
        look=partial(aside, look),
        every_seconds=0.01,
        patience_seconds=0.05,
    )
    async with running(looking):
        await watch.until_trouble("sensor", "takes longer than 0.05 s")
        assert looks == 1
        release.set()
        await watch.until_known(Signal.PARKED, True)
        assert watch.known.troubles() == {}


async def test_leaving_does_not_wait_for_a_thread_that_blocks():
    release = threading.Event()
    started = threading.Event()

    def block() -> Told:
        started.set()
        release.wait(10.0)
        return Told(value=True, words="yes")

    looking = keep_looking(
        Watch().known, Signal.PARKED, origin="sensor", look=partial(aside, block), every_seconds=1.0
    )
    async with running(looking):
        await eventually(started.is_set)
    release.set()


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", None, "connection refused"),
        ("there-is-no-such-host.invalid", 1883, "can't be found by name"),
        ("a" * 70, 1883, "can't be found by name"),
        ("127.0.0.1", 99999, "can't be"),
    ],
)
async def test_why_an_address_cannot_be_reached(host, port, words):
    with pytest.raises(SourceError, match=words):
        await reach(host, free_port() if port is None else port, timeout_seconds=5.0)
