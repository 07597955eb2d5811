"""Which servers keep a copy of the ends for clients: enough of them, and all agree who."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.sharing.caretakers import WANTED_COPIES, is_caretaker
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId, Span

NOW = time.time()


def server(
    number: int, *, holds_ends: bool = False, state: ServerState = ServerState.SERVING
) -> Announcement:
    return Announcement(
        peer_id=PeerId(f"peer-{number}"),
        model="0" * 64,
        model_name="m",
        num_layers=4,
        layers=Span(0, 2),
        state=state,
        numerics="n",
        holds_ends=holds_ends,
        announced_at=NOW,
        expires_at=NOW + 60,
    )


def caretakers(servers: list[Announcement]) -> list[PeerId]:
    return [one.peer_id for one in servers if is_caretaker(servers, one.peer_id)]


@given(st.lists(st.sampled_from([None, *ServerState]), max_size=12), st.integers(0, 12))
def test_copies_are_added_until_there_are_enough(states: list[ServerState | None], holders: int):
    """None stands for a server that serves; the first ones hold the ends."""
    servers = [
        server(number, holds_ends=number < holders, state=state or ServerState.SERVING)
        for number, state in enumerate(states)
    ]
    serving = [one for one in servers if one.state is ServerState.SERVING]
    copies = sum(one.holds_ends for one in serving)
    chosen = caretakers(servers)

    assert len(chosen) == min(max(0, WANTED_COPIES - copies), len(serving) - copies)
    assert all(one.state is ServerState.SERVING for one in servers if one.peer_id in chosen)
    assert not any(one.holds_ends for one in servers if one.peer_id in chosen)


def test_the_order_in_which_servers_are_read_does_not_matter():
    servers = [server(number) for number in range(9)]

    assert set(caretakers(servers)) == set(caretakers(servers[::-1]))


def test_a_holder_that_leaves_is_replaced():
    servers = [server(number, holds_ends=number < 3) for number in range(6)]
    assert caretakers(servers) == []

    leaving = [server(0, holds_ends=True, state=ServerState.DRAINING), *servers[1:]]
    assert len(caretakers(leaving)) == 1
