"""One port for two protocols: a bad connection doesn't disturb the others, and no fault is silent."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.fairness.sources import Source, peer_source, source_of
from p2pinfer.outside.certificate import SERVER_NAME
from p2pinfer.server.door import front_door
from p2pinfer.server.door.accepting import GUEST_LEFT_SECONDS, AcceptFailures
from p2pinfer.server.door.front_door import FrontDoor, listen_on
from p2pinfer.server.door.guests import Guests
from p2pinfer.swarm.membership.socket_folder import named
from p2pinfer.tasks import ending
from p2pinfer.wire.certificates import LANE_PROTOCOL, new_certificate, pinned_context
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.reach.client_hello import NO_APPLICATION_PROTOCOL
from tests.server.wire_client import receive, until
from tests.wire.reach.hellos import client_hello, in_records

SECONDS = 20.0
GRPC = client_hello("h2")


async def echo_service(path: Path) -> asyncio.Server:
    """Stands for gRPC behind the door."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    return await asyncio.start_unix_server(answer, path)


def door_to(path: Path, guests: Guests | None = None, most: int = 100) -> FrontDoor:
    def adopt(lane: Lane) -> None:
        raise AssertionError("no lane was opened")

    return FrontDoor(str(path), new_certificate().lanes, adopt, Guests() if guests is None else guests, most)


async def ask(listener: socket.socket, question: bytes) -> bytes:
    """Everything that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        writer.write(question)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), SECONDS)
    except ConnectionResetError:  # closed before the question was read
        return b""
    finally:
        writer.close()


async def test_what_begins_as_grpc_reaches_the_service_untouched_and_its_answer_comes_back(tmp_path):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        for hello in (GRPC, client_hello("grpc-exp", "h2"), in_records(GRPC, 5, 90)):
            assert await ask(listener, hello + b" and more") == hello + b" and more"
    assert listener.fileno() == -1


@pytest.mark.parametrize("cuts", [(1,), (5, 6), (100,), tuple(range(10, 200, 10))], ids=str)
async def test_a_hello_in_several_segments_is_read_whole_before_it_is_led_on(tmp_path, cuts):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for begin, end in itertools.pairwise((0, *cuts, len(GRPC))):
            writer.write(GRPC[begin:end])
            await asyncio.sleep(0.002)
        assert await asyncio.wait_for(reader.readexactly(len(GRPC)), SECONDS) == GRPC
        writer.close()


@pytest.mark.parametrize("protocols", [(), ("p2pinfer-lane/4",), ("p2pinfer-lane/6",), ("http/1.1",)])
async def test_who_speaks_another_protocol_or_version_is_told_so_as_tls_says_it(tmp_path, protocols):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(client_hello(*protocols))
        assert await asyncio.wait_for(reader.readexactly(7), SECONDS) == NO_APPLICATION_PROTOCOL
        writer.close()


@pytest.mark.parametrize(
    "begin", [b"p2pinfer lane 4\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b""], ids=str
)
async def test_who_begins_with_something_else_gets_no_answer_at_once(tmp_path, begin):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        assert await ask(listener, begin) == b""


@pytest.mark.parametrize("at_once", [1, len(GRPC) - 1, len(GRPC)], ids=["a byte", "almost all", "all"])
async def test_a_guest_that_makes_no_call_is_closed_in_time_however_it_lingers(
    tmp_path, monkeypatch, at_once
):
    """Whether it says one byte, goes on byte by byte, or says hello and shakes hands no further."""
    monkeypatch.setattr(front_door, "FIRST_CALL_SECONDS", 0.3)
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(GRPC[:at_once])

        async def linger() -> None:
            for byte in GRPC[at_once:]:
                await asyncio.sleep(0.2)  # all of it takes longer than our patience
                writer.write(bytes([byte]))

        with contextlib.suppress(ConnectionError):
            async with ending(asyncio.create_task(linger())), asyncio.timeout(SECONDS):
                while await reader.read(100):
                    pass
        assert time.monotonic() - began < SECONDS
        writer.close()


async def test_a_lane_that_shakes_hands_no_further_is_closed_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(front_door, "FIRST_CALL_SECONDS", 0.1)
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(client_hello(LANE_PROTOCOL))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                while await reader.read(4096):
                    pass
        writer.close()


async def test_a_connection_on_which_a_call_was_made_stays(tmp_path, monkeypatch):
    class Calling(Guests):
        def arrived(self, name: str, sources: tuple[Source, ...], now: float) -> None:
            super().arrived(name, sources, now)
            self.call_began(name, 0.0, is_session=False)
            self.call_ended(name, 0.0, is_session=False)

    monkeypatch.setattr(front_door, "FIRST_CALL_SECONDS", 0.05)
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path, Calling()).open([listener]):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(GRPC)
        assert await reader.readexactly(len(GRPC)) == GRPC
        await asyncio.sleep(0.1)
        writer.write(b"more")
        assert await asyncio.wait_for(reader.readexactly(4), SECONDS) == b"more"
        writer.close()


async def test_a_service_that_is_away_closes_the_connection_and_nothing_else(tmp_path, caplog):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with door_to(path).open([listener]):
        assert await ask(listener, GRPC) == b""
        async with await echo_service(path):
            assert await ask(listener, GRPC) == GRPC
    assert caplog.text == ""


async def test_a_connection_that_fails_unexpectedly_ends_alone_and_is_logged(tmp_path, monkeypatch, caplog):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    async with await echo_service(path), door_to(path).open([listener]):
        with monkeypatch.context() as patch:
            patch.setattr(front_door, "read_client_hello", lambda data: 1 / 0)
            assert await ask(listener, GRPC) == b""
        assert await ask(listener, GRPC) == GRPC
    assert "ZeroDivisionError" in caplog.text and "Traceback" in caplog.text


async def test_a_door_without_descriptors_says_so_once_and_serves_those_who_waited(
    tmp_path, monkeypatch, caplog
):
    path, listener = tmp_path / "grpc.sock", listen_on("127.0.0.1:0")
    loop, refusals = asyncio.get_running_loop(), 0
    accept, enough = loop.sock_accept, asyncio.Event()

    async def accept_or_fail(listener: socket.socket) -> tuple[socket.socket, object]:
        nonlocal refusals
        try:
            return await accept(listener)
        except OSError:
            refusals += 1
            if refusals == 3:
                enough.set()
            raise

    monkeypatch.setattr(loop, "sock_accept", accept_or_fail)
    async with await echo_service(path), door_to(path).open([listener]):
        guest = socket.socket()
        guest.setblocking(False)
        with contextlib.closing(guest), no_free_descriptors():
            await loop.sock_connect(guest, listener.getsockname())
            await asyncio.wait_for(enough.wait(), SECONDS)
        assert await ask(listener, GRPC) == GRPC
    assert caplog.text.count("can't be accepted") == 1
    assert "Too many open files" in caplog.text


@contextlib.contextmanager
def no_free_descriptors() -> Iterator[None]:
    """This process can open nothing inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as last:
        free = last.fileno()  # the lowest that was free
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_waits_grow_while_descriptors_lack_but_no_guest_waits_for_another():
    failures = AcceptFailures()
    lack, left = OSError(errno.EMFILE, ""), OSError(errno.ECONNABORTED, "")
    assert [failures.wait_seconds(lack) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert {failures.wait_seconds(left) for _ in range(100)} == {GUEST_LEFT_SECONDS}
    failures.accepted()
    assert failures.wait_seconds(lack) == 0.1


def test_a_failure_is_news_if_the_last_one_was_over_a_minute_ago():
    failures = AcceptFailures()
    assert [failures.is_news(now) for now in (5.0, 5.1, 50.0, 109.0, 170.0, 171.0)] == [
        True, False, False, False, True, False,
    ]  # fmt: skip


async def test_when_accepting_fails_unexpectedly_the_door_closes_loudly(tmp_path, monkeypatch):
    """A server that can't take connections must not go on as if it could."""

    async def fail(listener: socket.socket) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", fail)
    listener = listen_on("127.0.0.1:0")
    with pytest.raises(KeyError, match="a fault"):
        async with asyncio.timeout(SECONDS), door_to(tmp_path / "grpc.sock").open([listener]):
            await asyncio.Event().wait()
    assert listener.fileno() == -1


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
async def test_one_listener_takes_guests_of_both_families(tmp_path):
    path, listener = tmp_path / "grpc.sock", listen_on("[::]:0")
    port = listener.getsockname()[1]
    async with await echo_service(path), door_to(path).open([listener]):
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(GRPC)
            assert await asyncio.wait_for(reader.readexactly(len(GRPC)), SECONDS) == GRPC
            writer.close()


async def test_guests_are_told_where_each_connection_comes_from(tmp_path):
    """By its address, or by who stands behind the socket of a tunnel."""

    class Told(Guests):
        def arrived(self, name: str, sources: tuple[Source, ...], now: float) -> None:
            told.append(sources)
            super().arrived(name, sources, now)

    told: list[tuple[Source, ...]] = []
    names = {"tunnel-7": (peer_source("12D3KooWsomebody"),)}
    path, inside, outside = tmp_path / "grpc.sock", tmp_path / "door.sock", listen_on("127.0.0.1:0")
    context = new_certificate().lanes
    door = FrontDoor(
        str(path), context, lambda lane: None, Told(), find_sources=lambda name: names.get(name, ())
    )
    async with await echo_service(path), door.open([outside, listen_on(str(inside))]):
        assert await ask(outside, GRPC) == GRPC
        with socket.socket(socket.AF_UNIX) as tunnel:
            tunnel.setblocking(False)
            with named(tunnel, str(tmp_path / "tunnel-7")):
                await asyncio.get_running_loop().sock_connect(tunnel, str(inside))
            await until(lambda: len(told) == 2)
    assert told == [(source_of("127.0.0.1"),), names["tunnel-7"]]


async def test_a_lane_whose_hello_comes_in_pieces_is_accepted(tmp_path):
    """Looking at it has taken nothing away from the handshake."""
    path, listener, certificate = tmp_path / "grpc.sock", listen_on("127.0.0.1:0"), new_certificate()
    lanes: list[Lane] = []
    door = FrontDoor(str(path), certificate.lanes, lanes.append, Guests(), 10)
    async with await echo_service(path), door.open([listener]):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = pinned_context(certificate.der).wrap_bio(came, goes, server_hostname=SERVER_NAME)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = goes.read()
                for start in range(0, len(data), 50):
                    writer.write(data[start : start + 50])
                    await asyncio.sleep(0.001)
                came.write(await asyncio.wait_for(reader.read(1 << 16), SECONDS))
        writer.write(goes.read())
        assert tls.selected_alpn_protocol() == LANE_PROTOCOL
        await until(lambda: bool(lanes))
        frame = bytes(49)
        tls.write(len(frame).to_bytes(4, "little") + frame)
        writer.write(goes.read())
        assert await receive(lanes[0]) == frame
        lanes[0].close()
        writer.close()
