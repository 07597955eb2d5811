"""A relay between two real members."""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

import psutil
import pytest

from p2pinfer.errors import PeerGoneError, RelayRefusedError, SwarmError
from p2pinfer.fairness.rates import RateBound
from p2pinfer.identity import Identity
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay import service as relay_service
from p2pinfer.swarm.reach.relay.allowance import Allowance
from p2pinfer.swarm.reach.relay.asking import connect_through, introduce, on_relayed, reserve
from p2pinfer.swarm.reach.relay.framing import close_streams, read_message, write_message
from p2pinfer.swarm.reach.relay.messages import Connect, Reserve, Status, decode_answer, encode_request
from p2pinfer.swarm.reach.relay.service import INTRODUCTIONS, MAX_REQUESTS_PER_PEER, RelayService
from p2pinfer.swarm.reach.relay.streams import RELAY, RELAYED
from p2pinfer.types import PeerId
from tests.swarm.reach.relay.conftest import Trio, echo, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def raw_request(trio: Trio, *, data: bytes) -> bytes:
    """What a relay answers to these bytes."""
    stream = await trio.client.open_stream(trio.relay.peer_id, RELAY)
    try:
        stream[1].write(data)
        return await asyncio.wait_for(read_message(stream[0]), 30)
    finally:
        await close_streams(stream)


def status_of(trio: Trio, answer: bytes) -> Status:
    return decode_answer(answer, trio.client.peer_id).status


async def test_bytes_pass_both_ways_untouched_and_the_target_hears_who_asks(trio: Trio) -> None:
    askers: list[PeerId] = []

    async def handler(asker: PeerId, stream: Stream) -> None:
        askers.append(asker)
        await echo(asker, stream)

    async with trio.relaying() as service, trio.serving(handler) as reservation:
        (seen,) = reservation.observed
        assert seen.startswith("/ip4/127.0.0.1/tcp/")
        assert seen.endswith(f"/p2p/{trio.server.peer_id}")
        reader, writer = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        for length in (1, 4, 1000, 70_000):
            words = random.Random(length).randbytes(length)
            writer.write(words)
            assert await asyncio.wait_for(reader.readexactly(length), 30) == words
        assert askers == [trio.client.peer_id]
        assert service.stats().circuits == 1
        await close_streams((reader, writer))
        await settled(lambda: service.stats().circuits == 0)
        assert service.stats().relayed_bytes == service.stats().relayed_bytes_today == 2 * 71_005


async def test_twenty_megabytes_arrive_whole_before_the_stream_ends(trio: Trio) -> None:
    """The sender closes at once after its last byte: the relay sends what is on its way."""
    received, done = hashlib.sha256(), asyncio.Event()
    sent = random.Random(1).randbytes(20_000_000)

    async def handler(_: PeerId, stream: Stream) -> None:
        while piece := await stream[0].read(65536):
            received.update(piece)
        await close_streams(stream)
        done.set()

    async with trio.relaying(), trio.serving(handler):
        stream = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        stream[1].write(sent)
        await stream[1].drain()
        await close_streams(stream, flush_seconds=10)
        await asyncio.wait_for(done.wait(), 30)

    assert received.digest() == hashlib.sha256(sent).digest()


async def test_a_reader_that_doesnt_read_holds_the_sender_back_and_loses_the_circuit(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pinfer.swarm.reach.relay.circuits.STALL_SECONDS", 3.0)

    async def handler(_: PeerId, stream: Stream) -> None:
        await asyncio.sleep(60)

    async def send() -> None:
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async with trio.relaying() as service, trio.serving(handler):
        stream = _, writer = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        before = psutil.Process().memory_info().rss
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(), 0.7)
        passed = -1
        while passed != service.stats().relayed_bytes:  # until it stands still
            passed = service.stats().relayed_bytes
            await asyncio.sleep(0.2)
        assert 0 < passed < 40_000_000  # what libp2p's windows hold
        assert psutil.Process().memory_info().rss - before < 16_000_000
        await close_streams(stream)
        await settled(lambda: service.stats().circuits == 0)


async def test_a_target_without_a_reservation_isnt_here(trio: Trio) -> None:
    async with trio.relaying():
        for target in (trio.server.peer_id, Identity.ephemeral().peer_id):
            with pytest.raises(PeerGoneError, match="isn't at relay"):
                await connect_through(trio.client, trio.relay.peer_id, target)
            with pytest.raises(PeerGoneError):
                await introduce(trio.client, trio.relay.peer_id, target, ())


async def test_a_target_that_left_isnt_here_at_once(trio: Trio) -> None:
    async with trio.relaying() as service:
        async with trio.serving(echo):
            assert service.stats().reservations == 1
        await settled(lambda: service.stats().reservations == 0, 10)
        with pytest.raises(PeerGoneError):
            await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)


async def test_a_target_that_takes_no_streams_is_here_but_fails(trio: Trio) -> None:
    async with trio.relaying(), reserve(trio.server, trio.relay.peer_id):
        with pytest.raises(RelayRefusedError, match="doesn't answer"):
            await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        with pytest.raises(RelayRefusedError, match="doesn't answer"):
            await introduce(trio.client, trio.relay.peer_id, trio.server.peer_id, ())


async def test_a_member_without_the_service_is_no_relay(trio: Trio) -> None:
    with pytest.raises(SwarmError, match=r"no libp2p stream|broke before the answer"):
        async with reserve(trio.server, trio.relay.peer_id):
            pass


async def test_a_newer_reservation_replaces_the_older_one(trio: Trio) -> None:
    async with trio.relaying() as service:
        async with reserve(trio.server, trio.relay.peer_id) as first:
            assert not first.is_lost
            async with reserve(trio.server, trio.relay.peer_id) as second:
                assert await asyncio.wait_for(first.lost(), 10) == "the stream has ended"
                assert service.stats().reservations == 1
                assert not second.is_lost


async def test_a_silent_holder_loses_its_reservation(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pinfer.swarm.reach.relay.service.beat", quick_beat)
    async with trio.relaying() as service:
        reader, writer = stream = await trio.server.open_stream(trio.relay.peer_id, RELAY)
        await write_message(writer, encode_request(Reserve()))
        assert decode_answer(await read_message(reader), trio.server.peer_id).status is Status.OK
        assert service.stats().reservations == 1
        await settled(lambda: service.stats().reservations == 0, 30)
        await close_streams(stream)


async def quick_beat(stream: Stream) -> str:
    from p2pinfer.swarm.reach.relay.framing import beat

    return await beat(stream, beat_seconds=0.1)


async def test_reservations_and_circuits_end_when_the_owner_says_so(trio: Trio) -> None:
    """And the reason tells when to come back."""
    async with trio.relaying() as service, trio.serving(echo) as reservation:
        reader, writer = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 30) == b"hello"
        try:
            trio.allowance = Allowance(refusal="the month's traffic is used up", come_back_seconds=90.0)
            assert await asyncio.wait_for(reader.read(), 30) == b""
            await asyncio.wait_for(reservation.lost(), 10)
            for asking in (
                connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id),
                introduce(trio.client, trio.relay.peer_id, trio.server.peer_id, ()),
            ):
                with pytest.raises(RelayRefusedError, match="used up") as caught:
                    await asking
                assert caught.value.come_back_seconds == 90.0
            assert service.stats().refusal == "the month's traffic is used up"
        finally:
            trio.allowance = Allowance()
        await close_streams((reader, writer))
        async with reserve(trio.server, trio.relay.peer_id):
            assert service.stats().reservations == 1


async def test_a_client_gets_no_more_circuits_than_allowed(trio: Trio) -> None:
    trio.allowance = Allowance(max_circuits_per_client=2)
    try:
        async with trio.relaying() as service, trio.serving(echo) as reservation:
            assert reservation.circuits_per_client == 2
            open_streams = [
                await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id) for _ in range(2)
            ]
            with pytest.raises(RelayRefusedError, match="circuits of this member"):
                await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
            await close_streams(open_streams[0])
            await settled(lambda: service.stats().circuits == 1)
            again = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
            await close_streams(again, open_streams[1])
    finally:
        trio.allowance = Allowance()


async def test_a_full_relay_says_so(trio: Trio) -> None:
    trio.allowance = Allowance(max_circuits=1)
    try:
        async with trio.relaying(), trio.serving(echo):
            stream = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
            with pytest.raises(RelayRefusedError, match="circuits of this relay") as caught:
                await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
            assert caught.value.come_back_seconds > 0
            await close_streams(stream)
    finally:
        trio.allowance = Allowance()


async def test_the_rate_of_all_circuits_together_is_bounded(trio: Trio) -> None:
    trio.allowance = Allowance(bytes_per_second=100_000)
    try:
        async with trio.relaying(), trio.serving(echo) as reservation:
            assert reservation.bits_per_second == 800_000
            reader, writer = stream = await connect_through(
                trio.client, trio.relay.peer_id, trio.server.peer_id
            )
            clock = asyncio.get_running_loop().time
            began = clock()
            writer.write(bytes(200_000))  # there and back: the burst
            await asyncio.wait_for(reader.readexactly(200_000), 3.5)
            writer.write(bytes(50_000))  # there and back: a second, less what the burst took
            await asyncio.wait_for(reader.readexactly(50_000), 30)
            assert 0.9 < clock() - began < 8.0
            await close_streams(stream)
    finally:
        trio.allowance = Allowance()


async def test_both_sides_of_an_introduction_hear_where_the_other_is(trio: Trio) -> None:
    """What they claim at other IP addresses than where the relay sees them is dropped."""
    heard: list[tuple[PeerId, tuple[str, ...]]] = []
    server, client = f"/p2p/{trio.server.peer_id}", f"/p2p/{trio.client.peer_id}"

    async def introduced(asker: PeerId, maddrs: tuple[str, ...]) -> tuple[str, ...]:
        heard.append((asker, maddrs))
        return (f"/ip4/127.0.0.1/udp/7/quic-v1{server}", f"/ip4/192.0.2.9/tcp/25{server}")

    async with trio.relaying(), trio.serving(echo, introduced) as reservation:
        claimed = (f"/ip4/127.0.0.1/udp/8/quic-v1{client}", f"/dns4/example.org/tcp/25{client}")
        found = await introduce(trio.client, trio.relay.peer_id, trio.server.peer_id, claimed)

    assert found == (*reservation.observed, f"/ip4/127.0.0.1/udp/7/quic-v1{server}")
    ((asker, (seen, own)),) = heard
    assert asker == trio.client.peer_id
    assert seen.startswith("/ip4/127.0.0.1/tcp/")
    assert own == claimed[0]


async def test_introductions_of_one_member_are_few(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_service, "INTRODUCTIONS", replace(INTRODUCTIONS, seconds=3600.0))

    async def introduced(asker: PeerId, maddrs: tuple[str, ...]) -> tuple[str, ...]:
        return ()

    async with trio.relaying(), trio.serving(echo, introduced):
        for _ in range(int(INTRODUCTIONS.per_key)):
            await introduce(trio.client, trio.relay.peer_id, trio.server.peer_id, ())
        with pytest.raises(RelayRefusedError, match="too many introductions"):
            await introduce(trio.client, trio.relay.peer_id, trio.server.peer_id, ())


async def test_requests_of_one_member_are_bounded(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it asks, and whether that is refused."""
    few = RateBound(in_all=9, per_source=9, per_key=3, seconds=3600.0)
    monkeypatch.setattr(relay_service, "REQUESTS", few)
    async with trio.relaying():
        for _ in range(3):
            with pytest.raises(PeerGoneError):
                await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        with pytest.raises(RelayRefusedError, match="too many requests"):
            await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)


async def test_a_target_hears_nobody_but_its_relays(trio: Trio) -> None:
    """A stranger that opens `relayed` itself is cut off before the handler hears of it."""
    from p2pinfer.swarm.reach.relay.messages import Relayed, encode_relayed

    async def handler(asker: PeerId, stream: Stream, relay: PeerId) -> None:
        raise AssertionError("not ours")

    async with on_relayed(trio.relay, handler, lambda peer_id: False):
        reader, writer = stream = await trio.client.open_stream(trio.relay.peer_id, RELAYED)
        with suppress(ConnectionResetError):
            await write_message(writer, encode_relayed(Relayed(trio.client.peer_id)))
            assert await asyncio.wait_for(reader.read(), 30) == b""
        await close_streams(stream)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        b"\0\0\0\3abc",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\4\x12\2\x0a\0",
        b"\0\0\x10\1" + bytes(4097),
    ],
)
async def test_garbage_gets_an_answer(trio: Trio, data: bytes) -> None:
    async with trio.relaying():
        assert status_of(trio, await raw_request(trio, data=data)) is Status.BAD_REQUEST


async def test_a_stream_to_oneself_is_a_bad_request(trio: Trio) -> None:
    async with trio.relaying():
        message = encode_request(Connect(trio.client.peer_id))
        answer = await raw_request(trio, data=len(message).to_bytes(4, "big") + message)
    assert status_of(trio, answer) is Status.BAD_REQUEST


async def test_streams_without_a_request_are_bounded_and_the_rest_of_the_world_goes_on(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_service, "_SILENT_SECONDS", 60.0)
    monkeypatch.setattr(relay_service, "_REQUEST_SECONDS", 60.0)
    async with trio.relaying() as service, AsyncExitStack() as stack:
        for _ in range(MAX_REQUESTS_PER_PEER):
            stream = await trio.client.open_stream(trio.relay.peer_id, RELAY)
            stack.push_async_callback(close_streams, stream)
        await settled(lambda: sum(service._asking.values()) == MAX_REQUESTS_PER_PEER)
        with pytest.raises(RelayRefusedError, match="too many requests"):
            await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        async with trio.serving(echo):
            assert service.stats().reservations == 1


async def test_a_thousand_requests_of_a_stranger_are_answered_and_leave_nothing(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_service, "REQUESTS", RateBound(in_all=9999, per_source=9999, per_key=9999))
    async with trio.relaying() as service, trio.serving(echo):
        files = psutil.Process().num_fds()
        gone, refused = 0, 0
        for _ in range(40):
            outcomes = await asyncio.gather(
                *(
                    connect_through(trio.client, trio.relay.peer_id, Identity.ephemeral().peer_id)
                    for _ in range(25)
                ),
                return_exceptions=True,
            )
            gone += sum(isinstance(one, PeerGoneError) for one in outcomes)
            refused += sum(isinstance(one, RelayRefusedError) for one in outcomes)
            strange = [o for o in outcomes if not isinstance(o, PeerGoneError | RelayRefusedError)]
            assert strange == []
        assert gone + refused == 1000
        assert gone > 500
        await settled(lambda: psutil.Process().num_fds() <= files + 4)
        reader, writer = stream = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
        writer.write(b"still here")
        assert await asyncio.wait_for(reader.readexactly(10), 30) == b"still here"
        await close_streams(stream)
        assert service.stats().reservations == 1


async def test_the_end_of_the_service_ends_what_it_carried(trio: Trio) -> None:
    async with trio.relaying():
        stack = AsyncExitStack()
        reservation = await stack.enter_async_context(trio.serving(echo))
        reader, writer = await connect_through(trio.client, trio.relay.peer_id, trio.server.peer_id)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    await asyncio.wait_for(reservation.lost(), 10)
    await close_streams((reader, writer))
    await stack.aclose()


async def test_a_relay_that_cant_ask_its_owner_ends_loudly(trio: Trio) -> None:
    def broken() -> Allowance:
        raise RuntimeError("no policy")

    with pytest.raises(RuntimeError, match="no policy"):
        async with RelayService(trio.relay, broken):
            await asyncio.sleep(5)
    async with trio.relaying() as service:  # nothing is left behind
        assert service.stats().reservations == 0
