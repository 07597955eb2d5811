"""What a member dials because a relay says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from p2pinfer.identity import Identity
from p2pinfer.swarm.reach.meetings import MOST_A_MINUTE, MOST_MADDRS, MOST_PLACES, Meetings
from p2pinfer.types import PeerId
from tests.swarm.reach.relay.conftest import settled

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
