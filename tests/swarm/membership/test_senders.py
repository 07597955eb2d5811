"""Where those are who store records here."""

from __future__ import annotations

import asyncio
import time

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.fairness.sources import Source
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership import senders as senders_module
from p2pinfer.swarm.membership.senders import Senders, network_at
from p2pinfer.types import PeerId
from tests.swarm.conftest import describe, join_here, node_of

ANNA, BERT = PeerId("anna"), PeerId("bert")


@pytest.mark.parametrize(
    ("addresses", "network"),
    [
        ([], None),
        (["/ip4/203.0.113.7/tcp/9"], "203.0.113.0/24"),
        (["/ip4/203.0.113.7/udp/9/quic-v1/p2p/Qm"], "203.0.113.0/24"),
        (["/ip6/2001:db8:7:1::2/tcp/9"], "2001:db8:7::/48"),
        (["/ip6/::ffff:203.0.113.7/tcp/9"], "203.0.113.0/24"),
        (["/ip4/192.168.1.20/tcp/9"], "192.168.1.0/24"),
        (["/ip4/127.0.0.1/tcp/9"], None),
        (["/ip4/127.8.0.1/tcp/9"], None),
        (["/ip6/::1/tcp/9"], None),
        (["/ip6/::ffff:127.0.0.1/tcp/9"], None),
        (["/ip4/203.0.113.7/tcp/9", "/ip4/127.0.0.1/tcp/9"], None),
        (["/ip4/203.0.113.7/tcp/9/p2p/Qm/p2p-circuit"], None),
        (["/ip4/203.0.113.7/tcp/9/p2p/Qm/p2p-circuit", "/ip4/198.51.100.7/tcp/9"], "198.51.100.0/24"),
        (["/ip4/203.0.113.7/tcp/9", "/ip4/198.51.100.7/tcp/9"], "198.51.100.0/24"),
        (["/dns4/example.org/tcp/9"], None),
        (["nonsense"], None),
    ],
    ids=lambda value: "-".join(value) or "nowhere" if isinstance(value, list) else str(value),
)
def test_a_peer_is_in_one_network_or_in_none(addresses: list[str], network: str | None) -> None:
    assert network_at(addresses) == network
    assert network_at(addresses[::-1]) == network


class Listings:
    """What p2pd says: who is connected, and how often it was asked."""

    def __init__(self) -> None:
        self.connected = [(ANNA, "/ip4/203.0.113.7/tcp/9"), (BERT, "/ip4/127.0.0.1/tcp/9")]
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails = False

    async def __call__(self) -> list[tuple[PeerId, str]]:
        self.asked += 1
        connected = list(self.connected)
        await self.answers.wait()
        if self.fails:
            raise SwarmError("p2pd has ended")
        return connected


async def test_one_listing_tells_of_everybody_for_some_seconds() -> None:
    listings = Listings()
    senders = Senders(listings)

    found = await asyncio.gather(*(senders.source_of(peer) for peer in (ANNA, BERT, ANNA)))

    assert found == ["203.0.113.0/24", None, "203.0.113.0/24"]
    assert await senders.source_of(BERT) is None  # it is known that it is on this machine
    assert listings.asked == 1


async def test_a_newcomer_is_looked_for_at_once() -> None:
    listings = Listings()
    senders = Senders(listings)
    assert await senders.source_of(PeerId("new")) is None
    listings.connected.append((PeerId("new"), "/ip4/198.51.100.7/tcp/9"))

    assert await senders.source_of(PeerId("new")) == "198.51.100.0/24"
    assert listings.asked == 2


async def test_a_peer_that_has_moved_is_found_at_its_new_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders_module, "FRESH_SECONDS", 0.0)
    listings = Listings()
    senders = Senders(listings)
    assert await senders.source_of(ANNA) == "203.0.113.0/24"
    listings.connected = [(ANNA, "/ip4/198.51.100.7/tcp/9")]

    assert await senders.source_of(ANNA) == "198.51.100.0/24"


async def test_no_record_waits_for_a_p2pd_that_doesnt_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred that ask at the same time wait for the same listing, and no longer than one would."""
    monkeypatch.setattr(senders_module, "PATIENCE_SECONDS", 0.01)
    listings = Listings()
    listings.answers.clear()
    senders = Senders(listings)

    found = await asyncio.gather(*(senders.source_of(ANNA) for _ in range(100)))

    assert found == [None] * 100
    assert listings.asked == 1
    listings.answers.set()
    assert await senders.source_of(ANNA) == "203.0.113.0/24"
    assert listings.asked == 1


async def test_a_caller_that_gives_up_doesnt_end_the_listing_of_the_others() -> None:
    listings = Listings()
    listings.answers.clear()
    senders = Senders(listings)
    impatient, other = (asyncio.create_task(senders.source_of(ANNA)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    listings.answers.set()

    assert await other == "203.0.113.0/24"


async def test_while_p2pd_fails_what_was_seen_last_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders_module, "FRESH_SECONDS", 0.0)
    listings = Listings()
    senders = Senders(listings)
    assert await senders.source_of(ANNA) == "203.0.113.0/24"
    listings.fails = True

    assert await senders.source_of(ANNA) == "203.0.113.0/24"
    assert await senders.source_of(PeerId("new")) is None


async def test_strangers_that_nobody_is_connected_with_cost_few_listings() -> None:
    """Each listing takes 2 ms here: for a flood there is one in 42 ms, and none waits for more than that."""
    listings = Listings()

    async def slowly() -> list[tuple[PeerId, str]]:
        began = time.perf_counter()
        while time.perf_counter() - began < 0.002:
            pass
        return await listings()

    senders = Senders(slowly)
    began = time.perf_counter()
    for number in range(4):
        await asyncio.gather(*(senders.source_of(PeerId(f"{number} {one}")) for one in range(100)))

    assert listings.asked <= 4
    assert time.perf_counter() - began >= 0.002 + (listings.asked - 1) * 0.042


async def test_a_record_is_kept_with_the_network_of_who_has_sent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By real members. All are on this machine: for once, that counts as a network."""
    seen: list[list[str]] = []

    def elsewhere(addresses: list[str]) -> Source:
        seen.append(addresses)
        return Source("203.0.113.0/24")

    monkeypatch.setattr(senders_module, "network_at", elsewhere)
    ours = Identity.ephemeral()
    async with join_here() as keeper, join_here(keeper.addresses, ours) as server:
        await server.announce(describe(ours))

        kept = {held.record.peer_id: held.source for held in node_of(keeper).protocol.records._by_refresh}
        own = {held.record.peer_id: held.source for held in node_of(server).protocol.records._by_refresh}
    assert kept == {ours.peer_id: "203.0.113.0/24"}
    assert own == {ours.peer_id: None}
    assert all(address.startswith("/ip4/127.0.0.1/") for addresses in seen for address in addresses)
