"""The rest of a frame is written for as long as its reader takes it, and not for ever."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pinfer.server.sessions import rest_writer
from p2pinfer.server.sessions.rest_writer import RestWriter


class Trickle:
    """A lane that takes a byte whenever it is asked, and can always be written to."""

    def __init__(self, descriptor: int, unsent_bytes: int) -> None:
        self._descriptor = descriptor
        self.unsent_bytes = unsent_bytes

    def fileno(self) -> int:
        return self._descriptor

    def flush(self) -> bool:
        self.unsent_bytes -= 1
        return self.unsent_bytes == 0


@contextmanager
def pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


async def outcome_of(unsent_bytes: int) -> str:
    """How the writing of so many bytes ends."""
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with pipe() as descriptor:
        writer = RestWriter(
            asyncio.get_running_loop(),
            lambda lane: outcome.set_result("written"),
            lambda lane, why: outcome.set_result(why),
        )
        writer.write(Trickle(descriptor, unsent_bytes))  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            said = await outcome
        writer.stop()
    return said


async def test_a_lane_that_takes_a_frame_in_time_is_kept():
    assert await outcome_of(50) == "written"


async def test_a_lane_that_takes_a_byte_now_and_then_is_lost(monkeypatch: pytest.MonkeyPatch):
    """Else each of many sessions could hold the memory of a frame for days."""
    monkeypatch.setattr(rest_writer, "TAKE_SECONDS", 0.05)
    monkeypatch.setattr(rest_writer, "SLOWEST_BYTES_PER_SECOND", 10**12)

    assert (await outcome_of(10**12)).startswith("fewer than")
