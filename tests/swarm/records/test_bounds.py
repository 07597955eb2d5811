"""Addresses in records: what p2pd could not be told is refused when the record is read."""

from __future__ import annotations

import pytest

from p2pinfer.errors import InvalidRecordError
from p2pinfer.identity import Identity
from p2pinfer.swarm.records.bounds import check_maddr

PEER = Identity.ephemeral().peer_id


@pytest.mark.parametrize(
    "transport",
    ["/ip4/192.0.2.7/tcp/1", "/ip6/2001:db8::7/udp/65535/quic-v1", "/dns4/car.example/tcp/31330"],
)
def test_a_full_address_names_its_peer(transport: str) -> None:
    assert check_maddr("relays", f"{transport}/p2p/{PEER}") == PEER


@pytest.mark.parametrize("end", ["z" * 44, "1" * 44], ids=["too large", "too small"])
def test_a_peer_id_without_a_key_is_refused(end: str) -> None:
    """It looks like one. Whoever opens a stream to such a relay would stumble over it."""
    with pytest.raises(InvalidRecordError, match="relays: a peer id that no peer has"):
        check_maddr("relays", f"/ip4/192.0.2.7/tcp/1/p2p/12D3KooW{end}")


@pytest.mark.parametrize(
    "transport",
    [
        "/ip4/192.0.2.7/tcp/0",
        "/ip4/192.0.2.7/tcp/65536",
        "/ip4/2001:db8::7/tcp/1",
        "/ip6/192.0.2.7/tcp/1",
        "/dns/2001:db8::7/tcp/1",
        "/dns4/car..example/tcp/1",
        f"/dns6/{'x' * 64}/tcp/1",
        "",
    ],
)
def test_what_is_no_address_is_refused(transport: str) -> None:
    with pytest.raises(InvalidRecordError, match="maddrs: "):
        check_maddr("maddrs", f"{transport}/p2p/{PEER}")
