"""Ways are tried side by side with head starts; the first that stands wins, and nothing else is left open."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.types import PeerId
from p2pinfer.wire.reach.endpoints import Endpoint
from p2pinfer.wire.reach.race import HEAD_START_SECONDS, TUNNEL_AFTER_SECONDS, Race, in_order
from p2pinfer.wire.reach.winners import BELIEVED_SECONDS, TUNNEL, TUNNEL_BELIEVED_SECONDS, Candidate, Winners
from tests.simulator.clock import in_virtual_time

FOUR = [Endpoint(ip_address(f"192.0.2.{n}"), 7) for n in range(8)]
SIX = [Endpoint(ip_address(f"2001:db8::{n}"), 7) for n in range(1, 9)]
NEVER = math.inf


class Ways:
    """Pretended ways: after so many seconds one stands, fails (negative seconds), or never answers."""

    def __init__(self, seconds: dict[Candidate, float], **options: Any) -> None:
        self.seconds = seconds
        self.options = options
        self.started: dict[Candidate, float] = {}
        self.open: list[Candidate] = []
        self.running = 0

    async def attempt(self, candidate: Candidate) -> Candidate | None:
        assert candidate not in self.started, "tried twice"
        self.started[candidate] = asyncio.get_running_loop().time()
        self.running += 1
        try:
            seconds = self.seconds[candidate]
            await (asyncio.Event().wait() if seconds == NEVER else asyncio.sleep(abs(seconds)))
        finally:
            self.running -= 1
        if math.copysign(1, seconds) < 0:
            return None
        self.open.append(candidate)
        return candidate

    async def discard(self, candidate: Candidate) -> None:
        self.open.remove(candidate)

    async def run(
        self, *endpoints: Endpoint, names: Sequence[Coroutine[Any, Any, Sequence[Endpoint]]] = ()
    ) -> tuple[Candidate | None, float]:
        """The winner, and the seconds that it took."""
        race = Race(self.attempt, self.discard, **self.options)
        found = await race.run(endpoints, names, has_tunnel=TUNNEL in self.seconds)
        assert self.running == 0
        assert self.open == ([] if found is None else [found[1]])
        return found and found[0], asyncio.get_running_loop().time()


def race(ways: Ways, *endpoints: Endpoint, **options: Any) -> tuple[Candidate | None, float]:
    return in_virtual_time(ways.run(*endpoints, **options))


def test_a_way_that_answers_within_its_head_start_is_the_only_one_tried():
    ways = Ways({FOUR[0]: 0.1, FOUR[1]: 0.0, TUNNEL: 0.0})
    assert race(ways, FOUR[0], FOUR[1]) == (FOUR[0], 0.1)
    assert list(ways.started) == [FOUR[0]]


def test_unroutable_addresses_cost_a_head_start_each_before_the_tunnel():
    ways = Ways({FOUR[0]: NEVER, SIX[0]: NEVER, TUNNEL: 0.1})
    assert race(ways, FOUR[0], SIX[0]) == (TUNNEL, 0.6)
    assert ways.started == {SIX[0]: 0.0, FOUR[0]: HEAD_START_SECONDS, TUNNEL: 2 * HEAD_START_SECONDS}


def test_however_many_addresses_come_first_the_tunnel_starts_in_time_and_they_go_on():
    ways = Ways(dict.fromkeys(FOUR, NEVER) | {FOUR[7]: 0.5, TUNNEL: 5.0})
    assert race(ways, *FOUR) == (FOUR[7], 7 * HEAD_START_SECONDS + 0.5)
    assert ways.started[TUNNEL] == TUNNEL_AFTER_SECONDS


def test_a_way_that_fails_makes_the_next_one_start_at_once():
    ways = Ways({FOUR[0]: -0.01, FOUR[1]: -0.01, TUNNEL: 0.0})
    winner, seconds = race(ways, FOUR[0], FOUR[1])
    assert (winner, round(seconds, 3)) == (TUNNEL, 0.02)


def test_nobody_who_is_tried_learns_from_the_time_how_another_one_failed():
    starts = []
    for first in (-0.0, -0.1, NEVER, -0.249):
        ways = Ways({FOUR[0]: first, FOUR[1]: -0.2, TUNNEL: 0.0}, hides_failures=True)
        assert race(ways, FOUR[0], FOUR[1])[0] == TUNNEL
        starts.append(ways.started)
    assert all(one == starts[0] for one in starts)


def test_the_tunnel_alone_starts_at_once():
    assert race(Ways({TUNNEL: 0.2})) == (TUNNEL, 0.2)


def test_without_any_way_the_race_is_lost_at_once():
    assert race(Ways({})) == (None, 0.0)
    assert race(Ways({FOUR[0]: -0.0})) == (None, 0.0)


def test_the_last_winner_has_the_head_start():
    ways = Ways({FOUR[0]: 0.1, TUNNEL: 0.2}, favourite=TUNNEL)
    assert race(ways, FOUR[0]) == (TUNNEL, 0.2)
    assert list(ways.started) == [TUNNEL]


async def _later(seconds: float, *endpoints: Endpoint) -> Sequence[Endpoint]:
    await asyncio.sleep(seconds)
    return endpoints


def test_names_are_resolved_beside_the_addresses_that_are_known():
    ways = Ways({FOUR[0]: NEVER, SIX[0]: 0.1})

    async def run() -> tuple[Candidate | None, float]:
        return await ways.run(FOUR[0], names=[_later(1.0, SIX[0], FOUR[0]), _later(NEVER, FOUR[1])])

    # The second name's resolver never answers; the race doesn't wait for it.
    assert in_virtual_time(run()) == (SIX[0], 1.1)


def test_the_tunnel_waits_a_moment_for_names_and_no_longer():
    async def run(seconds: float) -> tuple[Candidate | None, float]:
        ways = Ways({FOUR[0]: 0.1, TUNNEL: 0.3})
        return await ways.run(names=[_later(seconds, FOUR[0])])

    assert in_virtual_time(run(0.1)) == (FOUR[0], 0.2)
    assert in_virtual_time(run(3.0)) == (TUNNEL, HEAD_START_SECONDS + 0.3)


def test_names_that_lead_nowhere_end_the_race():
    async def run() -> tuple[Candidate | None, float]:
        return await Ways({}).run(names=[_later(0.5), _later(1.0)])

    assert in_virtual_time(run()) == (None, 1.0)


def test_of_two_that_stand_at_the_same_moment_one_is_closed():
    ways = Ways({FOUR[0]: 0.5, FOUR[1]: 0.25, TUNNEL: 0.0})
    winner, seconds = race(ways, FOUR[0], FOUR[1])
    assert seconds == 0.5
    assert ways.open == [winner]


@pytest.mark.parametrize("when", [0.0, 0.1, 0.3, 0.5, 0.6])
def test_a_race_that_is_cancelled_leaves_nothing_open(when):
    async def run() -> None:
        ways = Ways({FOUR[0]: NEVER, FOUR[1]: 0.25, TUNNEL: 0.05})
        task = asyncio.create_task(ways.run(FOUR[0], FOUR[1]))
        await asyncio.sleep(when)
        if not task.cancel():
            return
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (ways.running, ways.open) == (0, [])

    in_virtual_time(run())


def test_a_fault_in_an_attempt_ends_the_race_loudly():
    async def run() -> None:
        ways = Ways({FOUR[0]: NEVER})  # FOUR[1] is unknown: a KeyError
        with pytest.raises(KeyError):
            await ways.run(FOUR[0], FOUR[1])
        assert (ways.running, ways.open) == (0, [])

    in_virtual_time(run())


_SECONDS = st.sampled_from([0.0, -0.0, 0.1, -0.1, 0.25, -0.25, 0.5, -0.5, 2.0, -2.0])


@given(st.dictionaries(st.sampled_from([*FOUR, *SIX, TUNNEL]), _SECONDS), st.booleans())
def test_a_race_is_lost_only_if_every_way_fails(seconds, hides):
    ways = Ways(seconds, hides_failures=hides)
    endpoints = [one for one in seconds if isinstance(one, Endpoint)]
    winner, _ = race(ways, *endpoints)
    stands = {one for one, after in seconds.items() if math.copysign(1, after) > 0}
    assert (winner in stands) if stands else winner is None


def test_the_order_is_favourite_families_in_turn_tunnel():
    assert in_order([FOUR[0], FOUR[1], SIX[0]], None, has_tunnel=True) == [SIX[0], FOUR[0], FOUR[1], TUNNEL]
    assert in_order([FOUR[0], SIX[0]], FOUR[0], has_tunnel=True) == [FOUR[0], SIX[0], TUNNEL]
    assert in_order([FOUR[0]], TUNNEL, has_tunnel=False) == [FOUR[0]]
    assert in_order([FOUR[0]], SIX[0], has_tunnel=False) == [FOUR[0]]


@pytest.mark.parametrize(
    ("winner", "seconds"), [(FOUR[0], BELIEVED_SECONDS), (TUNNEL, TUNNEL_BELIEVED_SECONDS)]
)
def test_a_winner_is_remembered_for_a_while_and_forgotten_when_it_fails(winner, seconds):
    winners, peer = Winners(most=2), PeerId("a")
    assert winners.of(peer, 0.0) is None
    winners.won(peer, winner, 0.0)
    winners.won(peer, winner, seconds - 1)  # doesn't make it last longer: a better way may be there
    assert winners.of(peer, seconds - 1) == winner
    assert winners.of(peer, seconds) is None
    winners.won(peer, winner, seconds)
    winners.failed(peer, SIX[0])
    assert winners.of(peer, seconds) == winner
    winners.failed(peer, winner)
    assert winners.of(peer, seconds) is None


def test_winners_are_remembered_of_those_peers_that_were_reached_last():
    winners = Winners(most=2)
    for peer in ("a", "b", "a", "c"):
        winners.won(PeerId(peer), TUNNEL, 0.0)
    assert [winners.of(PeerId(peer), 0.0) for peer in "abc"] == [TUNNEL, None, TUNNEL]
