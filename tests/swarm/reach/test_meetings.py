"""What a member dials because a relay says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from p2pinfer.fairness.rates import RateBound
from p2pinfer.identity import Identity
from p2pinfer.swarm.reach.meetings import MOST_A_MINUTE, MOST_MADDRS, MOST_PLACES, Meetings
from p2pinfer.swarm.reach.relay import asking
from p2pinfer.swarm.reach.relay.framing import close_streams, write_message
from p2pinfer.swarm.reach.relay.messages import Introduction, encode_introduction
from p2pinfer.swarm.reach.relay.streams import MEET
from p2pinfer.types import PeerId
from tests.swarm.reach.relay.conftest import settled
from tests.swarm.tunnel.wiring import stream_pair

PEER = Identity.ephemeral().peer_id


class Member:
    """Notes to where it would send packets."""

    def __init__(self) -> None:
        self.dialled: list[str] = []

    async def connect(self, peer_id: PeerId, maddrs: Collection[str], seconds: float) -> None:
        self.dialled += maddrs

    async def connections(self) -> Mapping[PeerId, tuple[str, ...]]:
        return {}


def at(host: str, port: int = 53) -> str:
    return f"/ip4/{host}/udp/{port}/quic-v1/p2p/{PEER}"


async def introduced(member: Member, times: int, *maddrs: str) -> None:
    meetings = Meetings(member, lambda peer_id, host: True)
    for _ in range(times):
        await meetings.on_introduction(PEER, maddrs)
    await settled(lambda: not len(meetings._nursery))
    await meetings.close()


async def test_a_relay_that_lies_makes_its_members_flood_nobody():
    """It tells hundreds of them that somebody waits for them at the address of a third party."""
    member = Member()
    await introduced(member, 3 * MOST_A_MINUTE, *(at("9.9.9.9", port) for port in range(1, 9)))
    assert len(member.dialled) == MOST_A_MINUTE * MOST_MADDRS


async def test_a_meeting_is_at_few_addresses():
    member = Member()
    await introduced(member, 1, *(at(f"9.9.9.{number}") for number in range(8)))
    assert len(member.dialled) == MOST_PLACES


async def test_a_relay_that_introduces_too_often_takes_nothing_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
):
    """Nobody could be met directly any more."""
    monkeypatch.setattr(asking, "_INTRODUCTIONS", RateBound(in_all=9, per_source=9, per_key=2))
    handlers, heard = {}, []

    class Streams:
        async def add_stream_handler(self, protocol, handler) -> None:
            handlers[protocol] = handler

        async def remove_stream_handler(self, protocol) -> None:
            del handlers[protocol]

    async def on_introduction(peer_id: PeerId, maddrs: Collection[str]) -> Collection[str]:
        heard.append(peer_id)
        return ()

    async def says(relay: PeerId) -> None:
        ours, theirs = await stream_pair()
        await write_message(ours[1], encode_introduction(Introduction(PEER, ())))
        ours[1].write_eof()
        await handlers[MEET](relay, theirs)
        await close_streams(ours)

    liar, honest = (Identity.ephemeral().peer_id for _ in range(2))
    async with asking.on_introduction(Streams(), on_introduction, lambda relay: True):
        for relay in (liar, liar, liar, honest):
            await says(relay)
    assert len(heard) == 3
