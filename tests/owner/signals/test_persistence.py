"""Connections are made again after growing pauses; looks are repeated; parts of a connection end together."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.persistence import Pauses, keep_connected, keep_looking, together
from p2pinfer.owner.signals.reach import reach
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.threads import in_thread
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


def bounds(slept: list[float], most_seconds: list[float]) -> bool:
    """Whether every pause is within its bound."""
    return len(slept) == len(most_seconds) and all(
        0 <= one <= most for one, most in zip(slept, most_seconds, strict=True)
    )


async def test_pauses_may_grow_twofold_each_time_up_to_half_a_minute(monkeypatch):
    error = SourceError("x", kind="x")
    slept = await _pauses(monkeypatch, [error] * 8, Pauses())
    assert bounds(slept, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])
    assert len(set(slept)) == 8  # drawn, so that many machines don't come back at the same moment


@pytest.mark.parametrize("failures", [1, 5, 1000])
def test_a_pause_is_anything_up_to_its_bound(failures):
    pauses = Pauses()
    longest = pauses.backoff.longest_seconds(failures)
    drawn = [pauses.seconds(failures, hopeless=False, chance=lambda c=c: c) for c in (0.0, 0.5, 0.75)]
    assert drawn == [0.0, longest / 2, longest * 0.75]


async def test_whoever_refuses_us_is_asked_rarely(monkeypatch):
    error = SourceError("x", kind="x", hopeless=True)
    slept = await _pauses(monkeypatch, [error] * 20, Pauses())
    assert all(48.0 <= one <= 72.0 for one in slept)


async def test_a_source_that_takes_us_in_only_to_throw_us_out_is_not_hammered(monkeypatch):
    error = SourceError("x", kind="x")
    asked: list[int] = []
    monkeypatch.setattr(Backoff, "seconds", lambda self, failures, chance: asked.append(failures) or 0.0)
    await _pauses(monkeypatch, [error] * 4, Pauses(), held=True)
    assert asked == [1, 2, 3, 4]


async def test_a_connection_that_held_earns_a_fresh_start(monkeypatch):
    error = SourceError("x", kind="x")
    # Every connection that held at all held longer than that.
    pauses = Pauses(backoff=Backoff(first_seconds=1e-9, most_seconds=1e-9 * 2))
    asked: list[int] = []
    monkeypatch.setattr(Backoff, "seconds", lambda self, failures, chance: asked.append(failures) or 0.0)
    await _pauses(monkeypatch, [error] * 3, pauses, held=True)
    assert asked == [1, 1, 1]


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
        release.wait(60.0)
        return Told(value=True, words="yes")

    looking = keep_looking(
        watch.known,
        Signal.PARKED,
        origin="sensor",
        look=partial(in_thread, look),
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
        release.wait(60.0)
        return Told(value=True, words="yes")

    looking = keep_looking(
        Watch().known, Signal.PARKED, origin="sensor", look=partial(in_thread, block), every_seconds=1.0
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
