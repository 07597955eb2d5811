"""Which relays are asked for a way to a peer, and how that ends where every way fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from p2pinfer.errors import PeerGoneError, RelayRefusedError, SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.reach import ways
from p2pinfer.types import Address, PeerId
from tests.swarm.reach.test_knocking import PEER, Member, parts

FIRST, SECOND = (Identity.ephemeral().peer_id for _ in range(2))
ADDRESS = Address(PEER, (), b"", (), tuple(f"/ip4/8.8.8.8/tcp/7/p2p/{relay}" for relay in (FIRST, SECOND)))


@pytest.mark.parametrize(
    ("second", "is_gone"),
    [
        (PeerGoneError("not here"), True),
        (SwarmError("no answer"), True),
        (RelayRefusedError(SECOND, "all circuits are in use", 5.0), False),
    ],
)
async def test_a_peer_is_gone_if_a_relay_says_so_and_none_has_it_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: SwarmError, is_gone: bool
):
    """A tunnel to a peer that is gone ends at once, and a session finds another server."""
    answers = {FIRST: PeerGoneError("not here"), SECOND: second}

    async def connect(self: Member, peer_id: PeerId, maddrs: object, seconds: float) -> None:
        """Is connected from now on."""

    async def connect_through(member: Member, relay: PeerId, target: PeerId) -> None:
        raise answers[relay]

    monkeypatch.setattr(Member, "connect", connect)
    monkeypatch.setattr(ways, "connect_through", connect_through)
    reaching = ways.Ways(*parts(tmp_path))
    with pytest.raises(SwarmError) as raised:
        await reaching._open(ADDRESS)
    assert not isinstance(raised.value, PeerGoneError)  # p2pd may have been started again just now
    monkeypatch.setattr(ways, "MISSING_SECONDS", -1.0)
    with pytest.raises(SwarmError) as raised:
        await reaching._open(ADDRESS)
    assert isinstance(raised.value, PeerGoneError) is is_gone


async def test_a_relay_that_passes_nothing_on_is_asked_after_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It says OK, and would keep everybody from a server that has a second relay."""
    asked: list[PeerId] = []

    async def connect(self: Member, peer_id: PeerId, maddrs: object, seconds: float) -> None:
        """Is connected from now on."""

    async def connect_through(member: Member, relay: PeerId, target: PeerId) -> None:
        asked.append(relay)
        raise SwarmError("no answer")

    monkeypatch.setattr(Member, "connect", connect)
    monkeypatch.setattr(ways, "connect_through", connect_through)
    reaching = ways.Ways(*parts(tmp_path))
    for doubted in (None, FIRST):
        if doubted is not None:
            reaching._dialler.doubt(doubted)
        with pytest.raises(SwarmError):
            await reaching._open(ADDRESS)
    assert asked == [FIRST, SECOND, SECOND, FIRST]


async def test_a_stream_is_closed_if_it_can_not_be_told_how_it_leads_to_the_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """p2pd is slow to say it, or another way is taken meanwhile: the stream was open until p2pd ended."""
    ours, theirs = socket.socketpair()
    stream = await asyncio.open_unix_connection(sock=ours)
    asked = 0

    async def connections(self: Member) -> Mapping[PeerId, tuple[str, ...]]:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise SwarmError("p2pd doesn't say which peers are connected")
        return {}

    async def open_stream(self: Member, peer_id: PeerId, protocol: str) -> object:
        return stream

    monkeypatch.setattr(Member, "connections", connections)
    monkeypatch.setattr(Member, "open_stream", open_stream)
    with theirs:
        with pytest.raises(SwarmError):
            await ways.Ways(*parts(tmp_path))._open(Address(PEER, (), b""))
        assert stream[1].transport.is_closing()
