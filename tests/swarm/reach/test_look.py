"""What a member that is asked to look dials, and for whom."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.look_pb2 import LookReply
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.look import MOST_STREAMS, MOST_STREAMS_PER_ASKER, Looker, Sight, look
from p2pinfer.swarm.reach.relay.framing import write_message
from p2pinfer.tasks import Nursery
from p2pinfer.types import PeerId
from tests.swarm.tunnel.wiring import stream_pair

ASKER, LOOKER = (Identity.ephemeral().peer_id for _ in range(2))
HERE = "/ip4/127.0.0.1/tcp/9"


class Streams:
    """Lead to one looker."""

    def __init__(self, looker: Looker, nursery: Nursery) -> None:
        self._looker = looker
        self._nursery = nursery
        self.asker = ASKER

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        ours, theirs = socket.socketpair()
        far = await asyncio.open_unix_connection(sock=theirs)
        self._nursery.start(self._looker.handle(self.asker, far))
        return await asyncio.open_unix_connection(sock=ours)


def looker(*observed: str, may_dial_back: Callable[[str], bool] = lambda host: True) -> Looker:
    async def seen(peer_id: PeerId) -> Sequence[str]:
        return observed

    return Looker(seen, tuple, may_dial_back)


async def asked(streams: Streams, port: int) -> Sight:
    return await look(streams, LOOKER, [port], 5.0)


async def test_a_look_that_was_not_taken_is_no_closed_port():
    """Who asks too often would conclude that nobody can dial it, and hide behind relays."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server, Nursery() as nursery:
        port = server.sockets[0].getsockname()[1]
        streams = Streams(looker(HERE), nursery)
        assert (await asked(streams, port)).reached == {port}
        with pytest.raises(SwarmError, match="no time to look"):
            await asked(streams, port)


@pytest.mark.parametrize("observed", [HERE, "/ip4/8.8.8.8/tcp/9/p2p/Q/p2p-circuit"])
async def test_who_comes_through_a_proxy_of_this_machine_does_not_learn_which_ports_are_open(observed: str):
    async with Nursery() as nursery:
        streams = Streams(looker(observed, may_dial_back=lambda host: host != "127.0.0.1"), nursery)
        with pytest.raises(SwarmError, match="no time to look"):
            await asked(streams, 9)


async def test_streams_on_which_nobody_asks_take_no_more_than_their_places():
    async with Nursery() as nursery:
        streams = Streams(looker(HERE), nursery)

        async def closed_at_once() -> bool:
            reader, writer = await streams.open_stream(LOOKER, "")
            try:
                async with asyncio.timeout(0.1):
                    return await reader.read(1) == b""
            except TimeoutError:
                return False
            finally:
                held.append(writer)

        held: list[asyncio.StreamWriter] = []
        assert [await closed_at_once() for _ in range(MOST_STREAMS_PER_ASKER + 1)] == [False, False, True]
        for _ in range(MOST_STREAMS // MOST_STREAMS_PER_ASKER - 1):
            streams.asker = Identity.ephemeral().peer_id
            await asyncio.gather(*(streams.open_stream(LOOKER, "") for _ in range(MOST_STREAMS_PER_ASKER)))
        streams.asker = Identity.ephemeral().peer_id
        assert await closed_at_once()
        for writer in held:
            writer.close()


async def test_what_a_looker_claims_to_have_seen_can_be_announced():
    """Or one that lies would keep a server's records from being made at all."""
    words = ["/ip6/2a0d::1%evil/tcp/1", "/ip4/9.9.9.9/tcp/1", "/dns4/a.org/tcp/1", "/ip4/9.9.9/tcp/1", "ip4"]

    class Liar:
        async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
            ours, theirs = await stream_pair()
            await write_message(
                theirs[1], LookReply(observed=words, tried=[9], reached=[9, 10]).SerializeToString()
            )
            theirs[1].write_eof()
            return ours

    seen = await look(Liar(), LOOKER, [9], 5.0)
    assert seen.observed == ("/ip4/9.9.9.9/tcp/1",)
    assert seen.reached == {9}
