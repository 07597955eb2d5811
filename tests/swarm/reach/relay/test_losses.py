"""What each side sees when one of the three dies: at once, and without a hang."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from p2pinfer.errors import PeerGoneError, SwarmError
from p2pinfer.swarm.reach.relay.asking import connect_through, reserve
from p2pinfer.swarm.reach.relay.framing import close_streams
from tests.swarm.conftest import QUICK, join_all, join_here, lose_p2pd, rejoining, until
from tests.swarm.reach.relay.conftest import Trio, echo, new_trio, settled


async def test_a_killed_target_ends_its_circuits_and_isnt_here_any_more() -> None:
    async with new_trio() as trio, trio.relaying() as service:
        async with trio.serving(echo):
            reader, writer = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
            writer.write(b"hello")
            assert await asyncio.wait_for(reader.readexactly(5), 30) == b"hello"
            await lose_p2pd(trio.server)
            assert await asyncio.wait_for(reader.read(), 10) == b""
            await settled(lambda: service.stats().reservations == 0, 10)
            with pytest.raises(PeerGoneError):
                await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
            await settled(lambda: service.stats().circuits == 0, 10)
            await close_streams((reader, writer))


async def test_a_killed_relay_ends_reservations_and_circuits_and_works_again_when_it_is_back() -> None:
    async with join_here(pace=QUICK) as relay:
        joining = [join_here(relay.addresses, client_only=True, pace=QUICK) for _ in range(2)]
        async with join_all(*joining) as (server, client):
            trio = Trio(relay, server, client)
            async with trio.relaying() as service:
                async with trio.serving(echo) as reservation:
                    reader, writer = await connect_through(client, relay.peer_id, server.peer_id)
                    async with rejoining(relay):
                        await lose_p2pd(relay)
                        with suppress(ConnectionResetError):
                            assert await asyncio.wait_for(reader.read(), 10) == b""
                        assert await asyncio.wait_for(reservation.lost(), 10)
                    await close_streams((reader, writer))
                await settled(lambda: service.stats().reservations == 0, 10)

                async def reserved_again() -> bool:
                    async with reserve(server, relay.peer_id):
                        return service.stats().reservations == 1

                await until(reserved_again, 30)


async def test_asking_a_relay_that_is_gone_is_a_swarm_error() -> None:
    async with new_trio() as trio:
        await lose_p2pd(trio.relay)
        with pytest.raises(SwarmError):
            await asyncio.wait_for(connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id), 30)
