"""What is given to others yields to sessions, and obeys the owner. Time is the test's."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from p2pinfer.sharing.give.activity import Activity
from p2pinfer.sharing.give.gate import (
    MOST_PART_BYTES,
    PATIENCE_SECONDS,
    TRICKLE_BITS_PER_SECOND,
    Gate,
)
from p2pinfer.sharing.give.limits import SharingLimits
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.traffic import Traffic

PART = MOST_PART_BYTES
QUIET = Activity(waiting=False, seconds_since_step=math.inf)
ACTIVE = Activity(waiting=False, seconds_since_step=0.2)
WAITING = Activity(waiting=True, seconds_since_step=0.0)


class Server:
    """A gate, with an owner, sessions and a clock that the test moves. Sleeping takes no time."""

    def __init__(self, *, left_bytes: int | None = None, mbit_per_s: float | None = None) -> None:
        self.activity = QUIET
        self.time = 0.0
        self.sleeps = 0
        self.counter = Traffic()
        self._month_bytes = left_bytes
        self._limits = SharingLimits(bits_per_second=None if mbit_per_s is None else mbit_per_s * 1e6)
        self.at: dict[float, list[object]] = {}
        self.gate = Gate(
            self.limits, lambda: self.activity, now=lambda: self.time, sleep=self._sleep, counter=self.counter
        )

    def limits(self) -> SharingLimits:
        if self._month_bytes is None:
            return self._limits
        return replace(self._limits, left_bytes=max(0, self._month_bytes - self.counter.sent_bytes))

    def change(self, **limits: object) -> None:
        self._limits = replace(self._limits, **limits)  # type: ignore[arg-type]

    async def _sleep(self, seconds: float) -> None:
        self.time += seconds
        self.sleeps += 1
        await asyncio.sleep(0)

    async def send(self, parts: int = 1, size_bytes: int = PART) -> None:
        for _ in range(parts):
            await self.gate.wait_to_send(size_bytes)
            await asyncio.sleep(0)
            self.gate.sent(size_bytes)


def said(refused: Refused | None) -> str:
    assert refused is not None and refused.reason is Reason.NOT_SHARING
    assert refused.retry_after_seconds > 0
    return refused.detail


async def refusal(sending: asyncio.Task[None]) -> str:
    with pytest.raises(Refused) as caught:
        await sending
    return said(caught.value)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_without_limits_and_sessions_nothing_waits():
    server = Server()
    assert server.gate.may_begin() is None
    await server.send(1000)

    assert (server.time, server.sleeps) == (0.0, 0)
    assert server.counter.sent_bytes == 1000 * PART


async def test_all_sends_together_keep_the_owners_rate():
    """Ten at once, of 5 Mbit/s in all; those who wait take turns."""
    server = Server(mbit_per_s=5)
    await asyncio.gather(*(server.send(10) for _ in range(10)))

    assert server.time == pytest.approx((100 - 2) * PART * 8 / 5e6, rel=0.01)  # the first two are a burst


async def test_not_a_byte_goes_while_activations_wait():
    """It goes in the next gap."""
    server = Server()
    server.activity = WAITING
    sending = asyncio.create_task(server.send())
    await turns()
    assert not sending.done() and server.counter.sent_bytes == 0

    server.activity = QUIET
    await sending
    assert server.counter.sent_bytes == PART


async def test_while_sessions_are_active_it_is_a_trickle():
    """Also where the owner allows more, or anything; and no more than the owner allows."""
    for mbit_per_s, expected in (
        (None, TRICKLE_BITS_PER_SECOND),
        (100, TRICKLE_BITS_PER_SECOND),
        (0.5, 0.5e6),
    ):
        server = Server(mbit_per_s=mbit_per_s)
        server.activity = ACTIVE
        await server.send(50)
        assert server.time == pytest.approx(48 * PART * 8 / expected, rel=0.01)


async def test_the_owner_changes_it_in_the_middle_of_a_wait():
    """At 0.5 Mbit/s a part would take most of a second."""
    server = Server(mbit_per_s=0.5)
    await server.send(2)
    sending = asyncio.create_task(server.send())
    await turns(4)
    assert not sending.done()
    server.change(bits_per_second=None)
    await sending
    assert server.time < 0.3


async def test_an_owner_who_gives_nothing_ends_what_is_under_way():
    server = Server(mbit_per_s=0.5)
    sending = [asyncio.create_task(server.send(100)) for _ in range(3)]
    await turns()
    server.change(enabled=False)

    for one in sending:
        assert "gives no files" in await refusal(one)
    assert "gives no files" in said(server.gate.may_begin())


async def test_what_was_granted_and_not_sent_is_for_others_at_once():
    """Calls that end before their part was sent would else use up the month for a while."""
    server = Server(left_bytes=PART)
    await server.gate.wait_to_send(PART)
    assert "in a month" in said(server.gate.may_begin())
    server.gate.not_sent(PART)
    await server.send()

    assert server.counter.sent_bytes == PART


async def test_the_months_bytes_are_never_exceeded():
    """Ten at once; what is granted and not sent yet counts too."""
    server = Server(left_bytes=25 * PART + 100)
    outcomes = await asyncio.gather(*(server.send(10) for _ in range(10)), return_exceptions=True)

    assert server.counter.sent_bytes == 25 * PART
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert refused and all("in a month" in said(one) for one in refused)
    assert server.gate.may_begin() is None
    await server.send(size_bytes=100)
    assert "in a month" in said(server.gate.may_begin())
    assert server.counter.sent_bytes == 25 * PART + 100


async def test_a_part_that_was_granted_and_never_sent_is_given_to_others_later():
    """Its connection broke."""
    server = Server(left_bytes=PART)
    await server.gate.wait_to_send(PART)
    assert "in a month" in said(server.gate.may_begin())
    server.time += 61.0
    await server.send()
    assert server.counter.sent_bytes == PART


async def test_where_sessions_leave_no_gap_those_who_wait_are_sent_away():
    """All of them, so that they ask another server."""
    server = Server()
    server.activity = WAITING
    sending = [asyncio.create_task(server.send()) for _ in range(3)]
    for one in sending:
        assert "no time to share" in await refusal(one)
    assert server.time == pytest.approx(PATIENCE_SECONDS, abs=0.1)

    server.time += 3600.0  # nobody waited meanwhile: patience begins anew
    late = asyncio.create_task(server.send())
    await turns()
    server.activity = QUIET
    await late


async def test_a_wait_can_be_cancelled_and_the_next_one_goes_on():
    server = Server()
    server.activity = WAITING
    first, second = asyncio.create_task(server.send()), asyncio.create_task(server.send())
    await turns()
    first.cancel()
    await turns()
    server.activity = QUIET
    await second

    assert first.cancelled()
    assert server.counter.sent_bytes == PART


async def test_waiting_is_cheap():
    """One of all those who wait looks again, fifty times a second."""
    server = Server()
    server.activity = WAITING
    sending = [asyncio.create_task(server.send()) for _ in range(100)]
    for one in sending:
        await refusal(one)

    assert server.sleeps <= PATIENCE_SECONDS * 50 + 1


@pytest.mark.parametrize("size_bytes", [0, -1, PART + 1])
async def test_a_part_has_a_size(size_bytes: int):
    with pytest.raises(ValueError, match="1 to"):
        await Server().gate.wait_to_send(size_bytes)
