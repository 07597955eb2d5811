"""A member looks for others whether their ports take connections: at their own address, and not too often."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import pytest_asyncio

from p2pinfer.errors import ProtocolError, SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.look_pb2 import LookReply, LookRequest
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach import look as module
from p2pinfer.swarm.reach.look import LOOK, MOST_REQUESTS_PER_ASKER, Looker, look
from p2pinfer.swarm.reach.relay.framing import close_streams, read_message, until_closed, write_message
from p2pinfer.swarm.reach.relay.messages import MAX_MESSAGE_BYTES
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId
from tests.swarm.conftest import join_here, until
from tests.swarm.tunnel.wiring import stream_pair

pytestmark = pytest.mark.asyncio(loop_scope="module")
HERE = "127.0.0.1"
SECONDS = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[tuple[Swarm, Swarm]]:
    """One that looks, and one that asks."""
    async with join_here() as looker, join_here(looker.addresses, client_only=True) as asker:
        yield looker, asker


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks may follow each other, and a busy machine may answer late."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(module, "DIAL_SECONDS", SECONDS / 2)


@asynccontextmanager
async def listening(host: str = HERE, port: int = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port that takes connections, and what has come by each."""
    came: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(b"")
        with suppress(OSError):
            came[-1] = await reader.read()
        writer.close()

    server = await asyncio.start_server(take, host, port)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        server.close()


@pytest.mark.usefixtures("unhurried")
async def test_a_look_reaches_an_open_port_and_no_closed_one(nodes: tuple[Swarm, Swarm]) -> None:
    looker, asker = nodes
    async with listening() as (closed, _):
        pass
    async with listening() as (open_, came):
        sight = await look(asker, looker.peer_id, [open_, closed], SECONDS)
    assert sight.hosts == (HERE,)
    assert sight.tried == {(HERE, open_), (HERE, closed)}
    assert sight.taken == {(HERE, open_)}
    assert sight.own == looker.reaching.maddrs == looker.addresses
    assert came == [b""]  # one connection, and not a byte


@pytest.mark.usefixtures("unhurried")
async def test_only_the_askers_own_address_is_dialled(nodes: tuple[Swarm, Swarm]) -> None:
    """Another address of the same machine with the same port stays alone."""
    looker, asker = nodes
    async with listening("127.0.0.2") as (port, came):
        assert not (await look(asker, looker.peer_id, [port], SECONDS)).taken
    assert not came


@pytest.mark.usefixtures("unhurried")
async def test_four_ports_are_tried_at_most_and_none_that_cannot_be(nodes: tuple[Swarm, Swarm]) -> None:
    looker, asker = nodes
    sight = await look(asker, looker.peer_id, range(1, 9), SECONDS)
    assert sight.asked == {1, 2, 3, 4}
    reply = await asked(asker, looker, LookRequest(ports=[0, 65536, 4294967295, 1, 2, 3, 4]))
    assert {attempt.port for attempt in reply.attempts} == {1}


async def test_who_asks_too_often_hears_where_it_is_seen_and_no_more(
    nodes: tuple[Swarm, Swarm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which isn't the same as closed ports."""
    looker, asker = nodes
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.0)
    await look(asker, looker.peer_id, [1], SECONDS)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 60.0)
    async with listening() as (port, came):
        for _ in range(3):
            sight = await look(asker, looker.peer_id, [port], SECONDS)
            assert sight.hosts == (HERE,) and sight.asked == {port}
            assert not sight.tried and not sight.taken
    assert not came


async def asked(asker: Swarm, looker: Swarm, request: LookRequest) -> LookReply:
    stream = await asker.open_stream(looker.peer_id, LOOK)
    await write_message(stream[1], request.SerializeToString())
    reply = LookReply.FromString(await asyncio.wait_for(read_message(stream[0]), 30))
    await close_streams(stream)
    return reply


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", MAX_MESSAGE_BYTES + 1) + bytes(64),
        struct.pack(">I", 4) + b"\xff\xff\xff\xff",
        struct.pack(">I", 100) + b"\x00",  # and the end
    ],
)
async def test_garbage_ends_its_stream_and_nothing_else(nodes: tuple[Swarm, Swarm], garbage: bytes) -> None:
    looker, asker = nodes
    reader, writer = await asker.open_stream(looker.peer_id, LOOK)
    writer.write(garbage)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 30) == b""
    await close_streams((reader, writer))
    assert (await look(asker, looker.peer_id, [1], SECONDS)).tried


@pytest.mark.usefixtures("unhurried")
async def test_who_opens_streams_and_says_nothing_gets_two(nodes: tuple[Swarm, Swarm]) -> None:
    looker, asker = nodes
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(MOST_REQUESTS_PER_ASKER + 2):
            streams.append(await asker.open_stream(looker.peer_id, LOOK))
            stack.push_async_callback(close_streams, streams[-1])
        for stream in streams:
            stream[1].write(b"\x00")
        ended = [asyncio.create_task(reader.read()) for reader, _ in streams]
        waiting = set(ended)
        async with asyncio.timeout(SECONDS):
            while len(waiting) > MOST_REQUESTS_PER_ASKER:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        done, waiting = await asyncio.wait(waiting, timeout=0.5)
        assert (len(done), len(waiting)) == (0, MOST_REQUESTS_PER_ASKER)
    await asyncio.gather(*ended, return_exceptions=True)

    async def looks_again() -> bool:
        return bool((await look(asker, looker.peer_id, [1], SECONDS)).tried)

    await until(looks_again, SECONDS)  # as soon as it has heard that they are closed


async def test_a_looker_that_is_away_or_silent_is_an_error_in_time(nodes: tuple[Swarm, Swarm]) -> None:
    looker, asker = nodes
    with pytest.raises(SwarmError):
        await look(asker, Identity.ephemeral().peer_id, [1], SECONDS)

    async def say_nothing(_: PeerId, stream: Stream) -> None:
        await until_closed(stream, SECONDS)
        await close_streams(stream)

    async with join_here(looker.addresses) as silent:
        await silent.remove_stream_handler(LOOK)
        await silent.add_stream_handler(LOOK, say_nothing)
        await asker.connect(silent.peer_id, silent.addresses, SECONDS)
        with pytest.raises(SwarmError):
            await look(asker, silent.peer_id, [1], 0.2)


class Answering:
    """Opens streams to a looker that answers with any bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
        ours, theirs = await stream_pair()
        await write_message(theirs[1], self._answer)
        self.theirs = theirs
        return ours


async def test_of_an_answer_only_what_was_asked_is_believed() -> None:
    looker = Identity.ephemeral().peer_id
    reply = LookReply(
        observed=[
            "/ip4/8.8.8.8/tcp/5",
            "/ip6/2a00::1%eth0/tcp/5",
            "/ip6/::ffff:8.8.8.8/udp/7",
            "x",
            "/ip4/8/",
        ],
        own=[
            f"/ip4/8.8.4.4/tcp/7/p2p/{looker}",
            f"/ip4/8.8.4.4/tcp/7/p2p/{Identity.ephemeral().peer_id}",
            "x",
        ],
    )
    for host, port in [("8.8.8.8", 7), ("8.8.8.8", 8), ("1.1.1.1", 7), ("2a00::1%eth0", 7), ("", 7)]:
        reply.attempts.add(host=host, port=port, taken=True)
    sight = await look(Answering(reply.SerializeToString()), looker, [7], SECONDS)
    assert sight.hosts == ("8.8.8.8",)
    assert sight.tried == sight.taken == {("8.8.8.8", 7)}
    assert sight.own == (f"/ip4/8.8.4.4/tcp/7/p2p/{looker}",)


async def test_any_answer_is_a_sight_or_an_error() -> None:
    chance = random.Random(18)
    whole = LookReply(observed=["/ip4/8.8.8.8/tcp/5"], own=["x"]).SerializeToString()
    for _ in range(200):
        answer = bytearray(whole + chance.randbytes(chance.randrange(30)))
        answer[chance.randrange(len(answer))] = chance.randrange(256)
        with suppress(SwarmError):
            await look(Answering(bytes(answer)), Identity.ephemeral().peer_id, [7], SECONDS)


async def test_a_looker_without_p2pd_answers_nothing_and_fails_nowhere() -> None:
    async def away() -> dict[PeerId, tuple[str, ...]]:
        raise SwarmError("p2pd has ended")

    ours, theirs = await stream_pair()
    await write_message(ours[1], LookRequest(ports=[7]).SerializeToString())
    await Looker(away, tuple, lambda host: True).handle(PeerId("Qm"), theirs)
    with pytest.raises((EOFError, OSError, ProtocolError)):
        await read_message(ours[0])
    await close_streams(ours)
