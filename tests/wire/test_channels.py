"""Channels are shared while they are used, and closed when nobody has used them for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from p2pinfer.errors import HopFailedError
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from tests.fakes import FakeServer, fake_swarm
from tests.server.wire_client import address_of, until

CLOSED = grpc.ChannelConnectivity.SHUTDOWN
LONG_SECONDS = 600.0


@asynccontextmanager
async def pool_of(**options: float) -> AsyncIterator[ChannelPool]:
    pool = ChannelPool(connect_seconds=2.0, **options)  # type: ignore[arg-type]
    try:
        yield pool
    finally:
        await pool.close()


async def used(pool: ChannelPool, member: FakeServer) -> grpc.aio.Channel:
    """Ping the server once, and return the channel that was used."""
    async with pool.connected(address_of(member)) as channel:
        await InferenceStub(channel).Ping(pb.PingRequest())
        return channel


async def closed(*channels: grpc.aio.Channel) -> None:
    """Wait until all these are closed."""
    await until(lambda: all(channel.get_state() is CLOSED for channel in channels))


async def test_users_share_a_channel_and_the_next_one_finds_it_open():
    async with fake_swarm([Span(0, 2)]) as swarm, pool_of() as pool:
        [member] = swarm.members
        first = await used(pool, member)
        assert await used(pool, member) is first


async def test_a_channel_that_nobody_has_used_for_a_while_is_closed():
    async with fake_swarm([Span(0, 2)]) as swarm, pool_of(idle_seconds=0.05, spare_seconds=0.02) as pool:
        [member] = swarm.members
        first = await used(pool, member)
        await closed(first)
        assert await used(pool, member) is not first


async def test_of_many_unused_channels_the_latest_used_are_kept():
    spans = [Span(0, 2)] * 4
    async with (
        fake_swarm(spans) as swarm,
        pool_of(most_idle=2, idle_seconds=LONG_SECONDS, spare_seconds=0.02) as pool,
    ):
        async with pool.connected(address_of(swarm.members[0])) as latest:
            channels = [await used(pool, member) for member in swarm.members[1:]]
        await closed(*channels[:2])
        assert [channel.get_state() is CLOSED for channel in (*channels, latest)] == [
            True,
            True,
            False,
            False,
        ]


async def test_a_channel_with_a_user_is_never_closed_for_lack_of_use():
    async with (
        fake_swarm([Span(0, 2)] * 3) as swarm,
        pool_of(most_idle=0, idle_seconds=0.02, spare_seconds=0.02) as pool,
    ):
        first, *others = swarm.members
        async with pool.connected(address_of(first)) as channel:
            await closed(*[await used(pool, member) for member in others])
            await InferenceStub(channel).Ping(pb.PingRequest())
            assert channel.get_state() is not CLOSED
        await closed(channel)


async def test_servers_that_are_not_there_leave_nothing_behind():
    async with fake_swarm([Span(0, 2)]) as swarm, pool_of() as pool:
        [member] = swarm.members
        address = address_of(member)
        await member.stop()
        with pytest.raises(HopFailedError):
            async with pool.connected(address):
                pass
        assert not pool._locks and not pool._connections
