"""What a record promises of how its server is reached."""

from __future__ import annotations

from typing import Any

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.reach.claimed import ClaimedReach, claimed_reach, relays_of
from p2pinfer.types import short_id
from tests.swarm.conftest import describe

SERVER, RELAY, OTHER = (Identity.ephemeral() for _ in range(3))
MADDR = f"/ip4/8.8.8.8/udp/4601/quic-v1/p2p/{SERVER.peer_id}"
AT_RELAYS = (
    f"/ip4/1.1.1.1/udp/4601/quic-v1/p2p/{RELAY.peer_id}",
    f"/ip4/1.1.1.1/tcp/4601/p2p/{RELAY.peer_id}",
    f"/ip4/1.0.0.1/tcp/4601/p2p/{OTHER.peer_id}",
)


@pytest.mark.parametrize(
    ("fields", "reach"),
    [
        ({"endpoints": ("8.8.8.8:4600",)}, ClaimedReach.DIRECT),
        ({"endpoints": ("192.168.1.5:4600", "[2a00:1450::7]:4600")}, ClaimedReach.DIRECT),
        ({"endpoints": ("example.org:4600",), "relays": AT_RELAYS}, ClaimedReach.DIRECT),
        ({"endpoints": ("10.0.0.5:4600",), "maddrs": (MADDR,), "is_mapped": True}, ClaimedReach.MAPPED),
        ({"endpoints": ("10.0.0.5:4600",), "maddrs": (MADDR,)}, ClaimedReach.TUNNEL),
        ({"endpoints": ("10.0.0.5:4600",), "relays": AT_RELAYS}, ClaimedReach.RELAYED),
        ({"endpoints": (), "relays": AT_RELAYS}, ClaimedReach.RELAYED),
        ({"endpoints": ("127.0.0.1:4600",)}, ClaimedReach.LOCAL),
        ({"endpoints": (), "maddrs": (MADDR.replace("8.8.8.8", "10.0.0.5"),)}, ClaimedReach.LOCAL),
        ({"endpoints": ()}, ClaimedReach.UNKNOWN),
    ],
)
def test_the_best_way_that_is_offered_to_strangers_counts(fields: dict[str, Any], reach: ClaimedReach):
    assert claimed_reach(describe(SERVER, **fields)) is reach


def test_relays_are_named_by_their_short_ids_and_once():
    """Not by their addresses: a relay may be somebody's home."""
    record = describe(SERVER, relays=AT_RELAYS)
    assert relays_of(record) == (short_id(RELAY.peer_id), short_id(OTHER.peer_id))


@pytest.mark.parametrize("text", ["", "/", "/ip4", "[", "]:", "[]:1", "::", "a" * 10_000, "/ip4/x/tcp/y/p2p"])
def test_no_text_in_the_place_of_an_address_raises(text: str):
    """The page cleans records once more, whatever the swarm has checked."""
    record = describe(SERVER, endpoints=(text,), maddrs=(text,), relays=(text,))
    assert claimed_reach(record) in ClaimedReach
    assert len(relays_of(record)) == 1
