"""Tunnels whose streams are cut, moved and refused: what their users see. Streams are socket pairs here."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from p2pinfer.errors import PeerGoneError, SwarmError
from p2pinfer.swarm.tunnel.dialler import Dialler
from p2pinfer.swarm.tunnel.state import WINDOW_BYTES
from p2pinfer.swarm.tunnel.streams import OpenedStream
from p2pinfer.types import Address, Way
from tests.swarm.tunnel.wiring import SERVER, Wires, address_of, at_most, wired

ADDRESS = address_of(SERVER)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; half a minute is far more than it takes."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)


async def settled(wires: Wires, tunnels: int) -> None:
    """Wait until the acceptor has so many tunnels with a stream."""
    await until(lambda: wires.acceptor.ways().total() == tunnels)


async def exchange(path: str, data: bytes, progress: Callable[[int], None] = lambda received: None) -> bytes:
    """Send `data` to an echo and end; returns what comes back until the other side's end."""
    reader, writer = await asyncio.open_unix_connection(path)
    received = bytearray()

    async def send() -> None:
        for at in range(0, len(data), 50_000):
            writer.write(data[at : at + 50_000])
            await writer.drain()
        writer.write_eof()

    async def receive() -> None:
        while part := await reader.read(1 << 16):
            received.extend(part)
            progress(len(received))

    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(send())
            both.create_task(receive())
    finally:
        writer.close()
    return bytes(received)


@pytest.mark.parametrize("seed", range(12))
async def test_no_byte_is_lost_while_streams_are_cut_and_moved(seed: int) -> None:
    """Three cuts and thirty moves, some in the middle of others."""
    chance = random.Random(seed)
    data = chance.randbytes(4_000_000)
    events = sorted((chance.randrange(len(data)), kind) for kind in 3 * ["cut"] + 30 * ["move"])
    async with wired() as (wires, dialler), dialler.dial(ADDRESS) as path:

        def progress(received: int) -> None:
            while events and events[0][0] < received:
                if events.pop(0)[1] == "cut":
                    wires.cut()
                dialler.move(SERVER)

        assert await asyncio.wait_for(exchange(path, data, progress), 30) == data
        assert wires.opened > 5
        await settled(wires, 0)


async def test_many_tunnels_move_at_the_same_time() -> None:
    async with wired() as (wires, dialler), dialler.dial(ADDRESS) as path:
        connections = [await asyncio.open_unix_connection(path) for _ in range(64)]
        for number, (_, writer) in enumerate(connections):
            writer.write(bytes([number]) * 1000)
        for number, (reader, _) in enumerate(connections):
            assert await reader.readexactly(1000) == bytes([number]) * 1000
        assert wires.acceptor.ways() == {Way.RELAYED: 64}
        assert dialler.way_to(SERVER) is Way.RELAYED
        wires.way = Way.PUNCHED
        for number, (_, writer) in enumerate(connections):
            writer.write(bytes([number + 1]) * 1000)
        dialler.move(SERVER)
        for number, (reader, _) in enumerate(connections):
            assert await reader.readexactly(1000) == bytes([number + 1]) * 1000
        await until(lambda: wires.acceptor.ways() == {Way.PUNCHED: 64})
        assert dialler.way_to(SERVER) is Way.PUNCHED
        for _, writer in connections:
            writer.close()
        await settled(wires, 0)
        await until(lambda: dialler.way_to(SERVER) is None)


async def test_a_session_goes_on_over_the_old_stream_while_the_new_one_opens() -> None:
    async with wired() as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        opening, may_open = wires.open_stream, asyncio.Event()

        async def open_late(address: Address) -> OpenedStream:
            await may_open.wait()
            return await opening(address)

        dialler.open_stream = open_late
        wires.way = Way.PUNCHED
        dialler.move(SERVER)
        for letter in (b"b", b"c", b"d"):
            writer.write(letter)
            assert await asyncio.wait_for(reader.readexactly(1), 30) == letter
        may_open.set()
        await until(lambda: wires.acceptor.ways() == {Way.PUNCHED: 1})
        writer.write(b"e")
        assert await reader.readexactly(1) == b"e"
        writer.close()


async def test_a_move_that_fails_changes_nothing() -> None:
    async with wired() as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        wires.error = PeerGoneError("not by this way")
        dialler.move(SERVER)
        for letter in (b"b", b"c"):
            writer.write(letter)
            assert await reader.readexactly(1) == letter
            await asyncio.sleep(0)
        assert wires.opened == 1
        writer.close()


async def test_a_peer_that_is_gone_is_noticed_at_once() -> None:
    async with wired(resume_seconds=60.0) as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        wires.error = PeerGoneError("killed")
        began = time.monotonic()
        wires.cut()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert time.monotonic() - began < 20
        writer.close()


async def test_a_tunnel_that_gets_no_stream_ends_in_time() -> None:
    async with wired(resume_seconds=0.3) as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        wires.error = SwarmError("not now")
        began = time.monotonic()
        wires.cut()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert 0.2 < time.monotonic() - began < 8  # by itself it would wait for ten seconds
        writer.close()


async def test_a_tunnel_goes_on_when_the_way_is_back() -> None:
    async with wired() as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        wires.error = SwarmError("not now")
        wires.cut()
        await settled(wires, 0)
        writer.write(b"b")
        wires.error = None
        assert await asyncio.wait_for(reader.readexactly(1), 30) == b"b"
        writer.close()


async def test_an_end_that_was_said_while_there_was_no_stream_arrives() -> None:
    async with wired() as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        wires.error = SwarmError("not now")
        wires.cut()
        await settled(wires, 0)
        writer.write(b"b")
        writer.write_eof()
        wires.error = None
        assert await asyncio.wait_for(reader.read(), 30) == b"b"
        writer.close()


async def test_a_tunnel_that_waits_too_long_for_a_stream_is_forgotten() -> None:
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            await reader.read()
        ended.set()
        writer.close()

    async with wired(listen, detached_seconds=0.1) as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        await settled(wires, 1)
        wires.error = SwarmError("not now")
        wires.cut()
        await asyncio.wait_for(ended.wait(), 30)
        wires.error = None
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""  # refused: unknown
        writer.close()


async def test_a_service_that_breaks_off_ends_the_tunnel_at_once() -> None:
    """It isn't resumed: nothing is there any more."""

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with wired(break_off, resume_seconds=60.0) as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"ab")
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        await settled(wires, 0)
        assert wires.opened == 1


async def test_the_other_side_hears_at_once_that_a_side_has_been_closed() -> None:
    async with wired(resume_seconds=60.0) as (wires, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        await wires.acceptor.close()
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        assert wires.opened == 1
        writer.close()


async def test_leaving_ends_the_tunnel_for_both_sides() -> None:
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            await reader.read()
        ended.set()
        writer.close()

    async with wired(listen, detached_seconds=60.0) as (wires, dialler):
        async with dialler.dial(ADDRESS) as path:
            _, writer = await asyncio.open_unix_connection(path)
            await settled(wires, 1)
        await asyncio.wait_for(ended.wait(), 30)
        writer.close()


async def test_tunnels_beyond_the_limit_are_refused() -> None:
    async def works(path: str) -> tuple[bool, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(b"x")
            return await asyncio.wait_for(reader.read(1), 30) == b"x", writer
        except OSError:
            return False, writer

    async with wired(bound=at_most(256, 2)) as (wires, dialler), dialler.dial(ADDRESS) as path:
        outcomes = [await works(path) for _ in range(4)]
        assert [worked for worked, _ in outcomes] == [True, True, False, False]
        for _, writer in outcomes:
            writer.close()
        await settled(wires, 0)
        worked, writer = await works(path)
        assert worked
        writer.close()


async def test_a_tunnel_that_waits_for_a_stream_makes_room_for_a_new_one_of_its_peer(tmp_path: Path) -> None:
    async with (
        wired(bound=at_most(256, 1)) as (wires, dialler),
        dialler.dial(ADDRESS) as path,
        AsyncExitStack() as stack,
    ):
        _, lost = await asyncio.open_unix_connection(path)
        await settled(wires, 1)
        wires.error = SwarmError("not now")
        wires.cut()
        await settled(wires, 0)

        async def open_stream(_: Address) -> OpenedStream:
            return OpenedStream(*await wires.open_raw(), wires.way)

        other = await stack.enter_async_context(Dialler(open_stream, tmp_path).dial(ADDRESS))
        reader, writer = await asyncio.open_unix_connection(other)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        lost.close()
        writer.close()


async def test_what_nobody_reads_is_bounded() -> None:
    """A service that sleeps holds the writer back: windows and sockets fill, nothing else grows."""
    taken = 0

    async def never_read(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.transport.abort()

    async with wired(never_read) as (wires, dialler), dialler.dial(ADDRESS) as path:
        _, writer = await asyncio.open_unix_connection(path)

        async def write_much() -> None:
            nonlocal taken
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                taken += 1 << 16

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_much(), 0.5)
        assert taken < 3 * WINDOW_BYTES
        wires.cut()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_much(), 0.2)
        assert taken < 3 * WINDOW_BYTES
        writer.transport.abort()


async def test_a_slow_reader_gets_everything_though_the_other_side_has_closed() -> None:
    data = random.Random(1).randbytes(500_000)

    async def send_and_close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    async with wired(send_and_close) as (_, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path, limit=1000)
        writer.write_eof()
        await asyncio.sleep(0.1)
        received = b""
        while chunk := await reader.read(4096):
            received += chunk
        assert received == data
        writer.close()


async def test_a_peer_that_isnt_there_closes_the_connection() -> None:
    async with wired() as (wires, dialler), dialler.dial(address_of(wires.peer_id)) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_a_direction_that_nobody_reads_holds_up_the_other_one_not() -> None:
    """Acknowledgements come on the same stream as data, behind what the service doesn't take."""
    data = random.Random(2).randbytes(5 * WINDOW_BYTES)

    async def only_send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_full.wait()
        writer.write(data)
        await asyncio.Event().wait()

    is_full = asyncio.Event()
    async with wired(only_send) as (_, dialler), dialler.dial(ADDRESS) as path:
        reader, writer = await asyncio.open_unix_connection(path)

        async def write_much() -> None:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_much(), 0.3)
        is_full.set()
        assert await asyncio.wait_for(reader.readexactly(len(data)), 5) == data
        writer.transport.abort()
