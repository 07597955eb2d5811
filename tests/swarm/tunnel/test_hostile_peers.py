"""What strangers may do to a tunnel: it ends quietly, nothing is left open, nobody else notices.

Warnings and lost tasks fail the tests.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings

from p2pinfer.identity import Identity
from p2pinfer.swarm.tunnel import dialler as dialler_module
from p2pinfer.swarm.tunnel import tunnel_end
from p2pinfer.swarm.tunnel.dialler import Dialler
from p2pinfer.swarm.tunnel.messages import ID_BYTES, MOST_BYTES, Kind, Refusal, encode, read_message
from p2pinfer.swarm.tunnel.state import WINDOW_BYTES
from p2pinfer.swarm.tunnel.streams import OpenedStream
from p2pinfer.types import Address, PeerId, Way
from tests.spoiled import spoiled
from tests.swarm.tunnel.wiring import (
    SERVER,
    address_of,
    at_most,
    echo,
    say,
    service,
    stream_pair,
    wired,
)

ID = bytes(range(ID_BYTES))
HELLO = encode(Kind.DATA, 0, b"hello")


def answers(*messages: bytes) -> bytes:
    """What an acceptor may say after it has taken a tunnel."""
    return encode(Kind.READY) + b"".join(messages)


@settings(max_examples=60)
@given(
    spoiled(
        answers(HELLO, encode(Kind.ACK, 1), encode(Kind.END, 5)),
        answers(encode(Kind.DATA, 0, bytes(MOST_BYTES)), encode(Kind.END, MOST_BYTES)),
        answers(HELLO, encode(Kind.CLOSE)),
        encode(Kind.REFUSED, Refusal.FULL),
    )
)
def test_a_tunnel_ends_quietly_whatever_its_acceptor_sends(data: bytes) -> None:
    async def carry() -> bytes:
        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            with suppress(OSError):
                await writer.drain()
                writer.write_eof()
                await reader.read()
            writer.close()

        with tempfile.TemporaryDirectory() as folder:
            far = Path(folder) / "peer.sock"

            async def open_stream(address: Address) -> OpenedStream:
                return OpenedStream(*await asyncio.open_unix_connection(far), Way.TUNNEL)

            async with service(far, peer):
                dialler = Dialler(open_stream, Path(folder), resume_seconds=0.1)
                async with dialler.dial(address_of(SERVER)) as near:
                    reader, writer = await asyncio.open_unix_connection(near)
                    try:
                        writer.write_eof()
                        return await asyncio.wait_for(reader.read(), 30)
                    except ConnectionResetError:
                        return b""
                    finally:
                        writer.close()

    assert len(asyncio.run(carry())) <= len(data)


@settings(max_examples=60)
@given(
    spoiled(
        encode(Kind.OPEN, 0, ID) + HELLO + encode(Kind.END, 5),
        encode(Kind.OPEN, 0, ID) + encode(Kind.CLOSE),
        encode(Kind.OPEN, 0, ID) + encode(Kind.DATA, 0, bytes(MOST_BYTES)) + encode(Kind.ACK, 1),
        encode(Kind.RESUME, 5, ID) + HELLO,
    )
)
def test_an_acceptor_closes_the_stream_whatever_its_dialler_sends(data: bytes) -> None:
    async def serve() -> None:
        async with wired(detached_seconds=0.0) as (wires, _):
            reader, writer = await wires.open_raw()
            writer.write(data)
            writer.write_eof()
            with suppress(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 30)
            writer.close()
            async with asyncio.timeout(30):
                while wires.acceptor._tunnels:  # noqa: ASYNC110
                    await asyncio.sleep(0)

    asyncio.run(serve())


async def test_only_the_peer_that_opened_a_tunnel_resumes_it() -> None:
    async with wired() as (wires, _):
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID), HELLO)
        assert (await read_message(reader)).kind is Kind.READY
        wires.peer_id = Identity.ephemeral().peer_id
        for stranger_reader, stranger in (
            await say(wires, encode(Kind.RESUME, 0, ID)),
            await say(wires, encode(Kind.RESUME, 0, secrets.token_bytes(ID_BYTES))),
        ):
            message = await read_message(stranger_reader)
            assert (message.kind, message.offset) == (Kind.REFUSED, Refusal.UNKNOWN)
            assert await stranger_reader.read() == b""
            stranger.close()
        message = await read_message(reader)
        assert (message.kind, message.body) in ((Kind.ACK, b""), (Kind.DATA, b"hello"))
        writer.close()


async def test_a_resumption_from_the_future_leaves_the_tunnel_as_it_is() -> None:
    async with wired() as (wires, _):
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        assert (await read_message(reader)).kind is Kind.READY
        for offset in (1, 2**64 - 1):
            liar_reader, liar = await say(wires, encode(Kind.RESUME, offset, ID))
            with suppress(ConnectionResetError):
                assert await liar_reader.read() == b""
            liar.close()
        writer.write(HELLO)
        while (message := await read_message(reader)).kind is not Kind.DATA:
            pass
        assert message.body == b"hello"
        writer.close()


async def test_a_new_tunnel_that_isnt_empty_is_forgotten() -> None:
    async with wired(detached_seconds=0.0) as (wires, _):
        reader, writer = await say(wires, encode(Kind.OPEN, 1, ID))
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        async with asyncio.timeout(30):
            while wires.acceptor._tunnels:  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_an_id_in_use_opens_no_second_tunnel() -> None:
    async with wired() as (wires, _):
        first_reader, first = await say(wires, encode(Kind.OPEN, 0, ID))
        assert (await read_message(first_reader)).kind is Kind.READY
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        message = await read_message(reader)
        assert (message.kind, message.offset) == (Kind.REFUSED, Refusal.IN_USE)
        for one in (first, writer):
            one.close()


async def test_a_peer_that_never_ends_a_tunnel_whose_service_has_closed_loses_it(monkeypatch) -> None:
    """The door closes connections on which nothing is asked; their tunnels mustn't outlive that."""
    monkeypatch.setattr(tunnel_end, "HALF_CLOSED_SECONDS", 0.05)

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with wired(close) as (wires, _):
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        async with asyncio.timeout(30):
            while (await read_message(reader)).kind is not Kind.CLOSE:
                pass
            while wires.acceptor._tunnels:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert wires.acceptor._places.taken == 0
        writer.transport.abort()


async def test_a_peer_that_never_reads_costs_no_more_than_a_window() -> None:
    given = 0

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal given
        with suppress(OSError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                given += 1 << 16

    async with wired(talk) as (wires, _):
        _, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        last = -1
        while given != last:
            last = given
            await asyncio.sleep(0.1)
        assert 0 < given < 2 * WINDOW_BYTES
        (tunnel,) = wires.acceptor._tunnels.values()
        assert tunnel.end.state.sending.kept_bytes <= WINDOW_BYTES
        writer.transport.abort()


@pytest.mark.parametrize("most", [1, 3])
async def test_streams_for_one_tunnel_end_each_other(most: int) -> None:
    """Whoever has the id can't pile them up: the newest is on offer, one is used, one may be left."""
    async with wired(bound=at_most(256, most)) as (wires, _):
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        assert (await read_message(reader)).kind is Kind.READY
        streams = [await say(wires, encode(Kind.RESUME, 0, ID)) for _ in range(10)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(wires.acceptor._taking) <= 2 * most
        assert wires.acceptor.ways().total() == 1
        for _, one in (*streams, (reader, writer)):
            one.transport.abort()


async def test_a_service_that_isnt_there_is_a_refusal(tmp_path: Path) -> None:
    async with wired(echo, resume_seconds=60.0) as (wires, dialler):
        wires.acceptor._path = tmp_path / "nothing.sock"
        reader, writer = await say(wires, encode(Kind.OPEN, 0, ID))
        message = await read_message(reader)
        assert (message.kind, message.offset) == (Kind.REFUSED, Refusal.NO_SERVICE)
        writer.close()
        async with dialler.dial(address_of(SERVER)) as path:
            near, writer = await asyncio.open_unix_connection(path)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(near.read(), 30) == b""
            writer.close()


async def test_a_peer_that_says_nothing_more_is_left_in_time(tmp_path: Path) -> None:
    """It doesn't read either, and data wait for it: leaving takes about a second."""

    async def go_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(Kind.READY))
        await asyncio.Event().wait()

    async def open_stream(address: Address) -> OpenedStream:
        return OpenedStream(*await asyncio.open_unix_connection(tmp_path / "peer.sock"), Way.TUNNEL)

    async with service(tmp_path / "peer.sock", go_silent):
        async with Dialler(open_stream, tmp_path).dial(address_of(SERVER)) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(bytes(1 << 20))
            await writer.drain()
            leaving = time.monotonic()
        assert time.monotonic() - leaving < 8  # not until half-closed tunnels end by themselves
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


@pytest.mark.parametrize("says", [b"", answers()])
async def test_a_relay_through_which_nothing_comes_is_doubted(
    says: bytes, tmp_path: Path, monkeypatch
) -> None:
    """The next attempt takes another relay first."""
    monkeypatch.setattr(dialler_module, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(dialler_module, "_LOOK_SECONDS", 0.05)
    doubted = asyncio.Event()
    relay = Identity.ephemeral().peer_id
    far = []

    async def open_stream(address: Address) -> OpenedStream:
        ours, theirs = await stream_pair()
        theirs[1].write(says)
        far.append(theirs[1])
        return OpenedStream(*ours, Way.RELAYED, relay)

    def doubt(peer_id: PeerId) -> None:
        assert peer_id == relay
        doubted.set()

    dialler = Dialler(open_stream, tmp_path, doubt=doubt)
    async with dialler.dial(address_of(SERVER)) as path:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello")
        await asyncio.wait_for(doubted.wait(), 30)
    for one in (writer, *far):
        one.transport.abort()
