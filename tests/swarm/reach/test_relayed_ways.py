"""Ways between members of which one can't be dialled: through a relay, then directly, and back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from p2pinfer.errors import PeerGoneError, SwarmError
from p2pinfer.fairness.sources import Source, peer_source, relay_source, source_of
from p2pinfer.identity import Identity
from p2pinfer.swarm.reach import ways
from p2pinfer.swarm.reach.relay.allowance import Allowance
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel import dialler
from p2pinfer.types import Address, Way
from tests.swarm.conftest import join_all, join_here, until
from tests.swarm.reach.homes import Wire, address_at, hide, until_found_at
from tests.swarm.tunnel.wiring import echo, service

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Homes:
    """A server that doesn't listen, and has a place at the relay; a client that listens."""

    relay: Swarm
    server: Swarm
    client: Swarm

    @property
    def address(self) -> Address:
        return address_at(self.server, self.relay)

    def way(self) -> Way | None:
        return self.client.ways.way_of_tunnel(self.server.peer_id)

    async def until_way(self, *wanted: Way, seconds: float = 10.0) -> None:
        async def is_so() -> bool:
            return self.way() in wanted

        await until(is_so, seconds)

    async def is_connected(self) -> bool:
        return self.server.peer_id in await self.client.connections()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def joined() -> AsyncIterator[Homes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "_LOOK_SECONDS", 0.2)
        async with join_here(allowance=Allowance) as relay:
            joining = [join_here(relay.addresses, listen_maddrs=()), join_here(relay.addresses)]
            async with join_all(*joining) as (server, client):
                hide(server)
                await until_found_at(server, relay)
                yield Homes(relay, server, client)


@pytest_asyncio.fixture(loop_scope="module")
async def homes(joined: Homes) -> AsyncIterator[Homes]:
    """The client and the server aren't connected."""
    await joined.client.disconnect(joined.server.peer_id)
    yield joined
    await joined.client.disconnect(joined.server.peer_id)


async def test_a_session_begins_at_the_relay_and_moves_to_a_connection_without_losing_a_byte(
    homes: Homes, tmp_path: Path
) -> None:
    data = random.Random(5).randbytes(3_000_000)
    async with (
        service(tmp_path / "s.sock", echo),
        homes.server.ways.expose(tmp_path / "s.sock"),
        homes.client.ways.tunnel(homes.address) as path,
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        received = bytearray()

        async def pass_on(begin: int, end: int) -> None:
            for at in range(begin, end, 100_000):
                writer.write(data[at : at + 100_000])
                received.extend(await reader.readexactly(100_000))

        await pass_on(0, 1_000_000)
        assert homes.way() is Way.RELAYED
        assert homes.server.ways.tunnels_in == {Way.RELAYED: 1}
        passing = asyncio.create_task(pass_on(1_000_000, 3_000_000))
        await homes.server.connect(homes.client.peer_id, homes.client.addresses, 5.0)
        await homes.until_way(Way.TUNNEL, Way.PUNCHED)
        await passing
        assert received == data

        async def has_moved() -> bool:
            return homes.server.ways.tunnels_in == {Way.PUNCHED: 1}

        await until(has_moved, 30)
        writer.close()


async def test_the_service_learns_whose_tunnel_it_is_and_where_that_comes_from(
    homes: Homes, tmp_path: Path
) -> None:
    """Through the relay, or from an address of its own."""
    came: list[tuple[Source, ...]] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = Path(writer.get_extra_info("peername")).name
        came.append(homes.server.ways.sources_of(name))
        await echo(reader, writer)

    async def visit() -> None:
        async with homes.client.ways.tunnel(homes.address) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()

    async with service(tmp_path / "s.sock", note), homes.server.ways.expose(tmp_path / "s.sock"):
        await visit()
        await homes.server.connect(homes.client.peer_id, homes.client.addresses, 5.0)
        await visit()
        assert [one.name for one in tmp_path.iterdir()] == ["s.sock"]
    peer = peer_source(homes.client.peer_id)
    assert came == [(peer, relay_source(homes.relay.peer_id)), (peer, source_of("127.0.0.1"))]


async def test_a_connection_that_is_dead_is_left_for_the_relay_and_closed(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a router leaves it that has restarted: nobody is told, and libp2p would believe in it for long."""
    monkeypatch.setattr(dialler, "SILENT_SECONDS", 0.7)
    monkeypatch.setattr(ways, "_PING_SECONDS", 1.0)
    async with (
        join_here(homes.relay.addresses) as client,  # the server would dial one that it knows elsewhere, too
        service(tmp_path / "s.sock", echo),
        homes.server.ways.expose(tmp_path / "s.sock"),
        Wire(client).open() as wire,
        client.ways.tunnel(homes.address) as path,
    ):
        homes = Homes(homes.relay, homes.server, client)
        await homes.server.connect(client.peer_id, [wire.maddr], 5.0)
        await until(homes.is_connected, 30)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"before ")
        assert await reader.readexactly(7) == b"before "
        assert homes.way() is not Way.RELAYED

        wire.freeze()
        writer.write(b"after")
        assert await asyncio.wait_for(reader.readexactly(5), 30) == b"after"
        assert homes.way() is Way.RELAYED

        async def is_closed() -> bool:
            return not await homes.is_connected()

        await until(is_closed, 30)
        writer.close()


async def test_a_connection_that_is_slow_is_not_closed(
    homes: Homes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other streams run through it."""
    monkeypatch.setattr(ways, "CONNECTED_HEAD_START_SECONDS", 0.0)
    monkeypatch.setattr(ways, "_LOOK_SECONDS", 60.0)
    await homes.server.connect(homes.client.peer_id, homes.client.addresses, 5.0)
    await until(homes.is_connected, 30)
    async with (
        service(tmp_path / "s.sock", echo),
        homes.server.ways.expose(tmp_path / "s.sock"),
        homes.client.ways.tunnel(homes.address) as path,
    ):
        for _ in range(5):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            assert await homes.is_connected()


async def test_a_peer_that_its_relay_misses_is_gone(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MISSING_SECONDS", -1.0)
    nobody = Identity.ephemeral().peer_id
    with pytest.raises(PeerGoneError):
        await homes.client.ways._open(Address(nobody, (), b"", relays=homes.relay.addresses[:1]))


async def test_a_peer_whose_port_refuses_for_long_is_gone(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once: its p2pd may be starting again. And not because of what was long ago."""
    monkeypatch.setattr(ways, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(ways, "MISSING_SECONDS", -1.0)
    nobody = Identity.ephemeral().peer_id
    address = Address(nobody, (), b"", maddrs=(f"/ip4/127.0.0.1/tcp/1/p2p/{nobody}",))

    async def is_gone() -> bool:
        try:
            await homes.client.ways._open(address)
        except PeerGoneError:
            return True
        raise AssertionError("it can't be reached")

    assert await until(is_gone, 3) >= 0.2
    monkeypatch.setattr(ways, "REFUSAL_FORGOTTEN_SECONDS", 0.0)
    with pytest.raises(SwarmError) as raised:
        await homes.client.ways._open(address)
    assert not isinstance(raised.value, PeerGoneError)
