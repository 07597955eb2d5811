"""A session outlives the records that it began with: servers dial none that has expired."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from p2pinfer.client.network import Network
from p2pinfer.server.sessions import next_hops
from p2pinfer.swarm.records import announcement
from p2pinfer.swarm.records.announcement import Announcement
from tests.client.disturbed import PROMPT, TOKENS, Mischief
from tests.client.sessions import THREE, decode, in_client, session_of
from tests.fakes import FakeServer, fake_swarm, greedy_locally


@dataclass
class Clock:
    """Servers' time, which a test moves on."""

    ahead: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


def announce_by(clock: Clock, member: FakeServer) -> None:
    """Let the server announce itself by that clock."""
    record = member.record

    def announced() -> Announcement:
        at = clock.time()
        return announcement.decode(
            announcement.encode(replace(record(), announced_at=at, expires_at=at + 60), member.identity)
        )

    member.record = announced


async def test_hops_that_stay_are_named_to_new_ones_by_their_newest_records(monkeypatch):
    """The first hop is told of a replacement, and that of the last hop, minutes after the start."""
    monkeypatch.setattr(next_hops, "time", clock := Clock())
    async with fake_swarm([*THREE, THREE[1]]) as swarm:
        mischief = Mischief(swarm)
        for member in swarm.members:
            announce_by(clock, member)

        def work(network: Network) -> list[int]:
            def later(index: int) -> None:
                if index == 4:
                    clock.ahead = 300.0
                    network.run(network.directory.refresh())
                elif index == 5:
                    mischief.kill(THREE[1])

            with session_of(network) as session:
                text = decode(session, PROMPT, TOKENS, after=later)
                assert session.replaced_hops == 1
                return text

        assert await in_client(swarm, work) == greedy_locally(PROMPT, TOKENS, 6)
