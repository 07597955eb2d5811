"""What a record or a stranger names isn't dialled unless it is theirs to give: ways, places at relays."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.reach.permission import Permission
from p2pinfer.swarm.reach.places import Places
from p2pinfer.swarm.reach.reaching import Reaching
from p2pinfer.swarm.reach.ways import Ways
from p2pinfer.types import Address, PeerId

OURS, PEER, RELAY, INITIAL = (Identity.ephemeral().peer_id for _ in range(4))
JOINED = f"/ip4/8.8.8.8/tcp/7/p2p/{INITIAL}"


class Member:
    """Is connected with nobody, and notes where p2pd would dial."""

    def __init__(self, folder: Path) -> None:
        self.peer_id = OURS
        self.private_folder = folder
        self.dialled: list[str] = []
        self.known: Mapping[PeerId, tuple[str, ...]] = {}

    async def connections(self) -> Mapping[PeerId, tuple[str, ...]]:
        return {}

    async def connect(self, peer_id: PeerId, maddrs: Collection[str], seconds: float) -> None:
        self.dialled += maddrs
        raise SwarmError("nobody is there")

    async def open_stream(self, peer_id: PeerId, protocol: str) -> None:
        raise SwarmError("nobody is there")

    def acquaintances(self) -> Mapping[PeerId, tuple[str, ...]]:
        return {INITIAL: (JOINED,), **self.known}


def parts(folder: Path) -> tuple[Member, Reaching, Permission]:
    member = Member(folder)
    permission = Permission(initial=[JOINED], listen=["/ip4/0.0.0.0/tcp/7"], announce=())
    reaching = Reaching(member, permission, {INITIAL: (JOINED,)}, announced=(), is_known=False)
    return member, reaching, permission


@pytest.mark.parametrize(
    "host", ["ip4/127.0.0.1", "ip6/::1", "dns4/localhost", "dns/LOCALHOST", "ip4/10.9.8.7"]
)
@pytest.mark.parametrize("field", ["maddrs", "relays"])
async def test_a_record_makes_nobody_knock_at_doors_of_their_own(tmp_path: Path, host: str, field: str):
    """Hundreds of clients read it."""
    member, reaching, permission = parts(tmp_path)
    of = PEER if field == "maddrs" else RELAY
    knocks = asyncio.Queue[None]()

    async def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocks.put_nowait(None)
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        address = Address(PEER, (), b"", **{field: (f"/{host}/tcp/{port}/p2p/{of}",)})
        with pytest.raises(SwarmError):
            await Ways(member, reaching, permission)._open(address)
    assert member.dialled == []
    assert knocks.empty()


async def test_a_relay_s_own_words_lead_nobody_astray_and_the_user_s_are_believed(tmp_path: Path):
    member, reaching, _ = parts(tmp_path)
    words = [f"/ip4/127.0.0.1/tcp/6379/p2p/{INITIAL}", f"/ip4/8.8.4.4/tcp/7/p2p/{INITIAL}", JOINED]
    places = Places(member, lambda: None, reaching._dialable)
    await places._hold(INITIAL, words)
    assert member.dialled == [JOINED, "/ip4/8.8.4.4/tcp/7"]


async def test_a_relay_at_an_address_that_no_record_can_name_spoils_no_record(tmp_path: Path):
    """Its record would be refused as a whole, and nobody would find the server."""
    member, reaching, _ = parts(tmp_path)
    link_local = f"/ip6zone/eth0/ip6/fe80::7/tcp/7/p2p/{RELAY}"
    named = f"/ip6/2a0d::7/tcp/7/p2p/{RELAY}"
    member.known = {RELAY: (link_local, f"/ip4/8.8.4.4/tcp/7/ws/p2p/{RELAY}", named)}
    reaching.places._held[RELAY] = object()
    assert reaching.relays == (f"/ip6/2a0d::7/udp/7/quic-v1/p2p/{RELAY}", named)
