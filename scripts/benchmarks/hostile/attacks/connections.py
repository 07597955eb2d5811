"""Connections that hold a place at the server's door and want nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from p2pinfer.wire.certificates import LANE_PROTOCOL
from scripts.benchmarks.hostile.attacks.http2 import PREFACE, SETTINGS, answers, frame, request
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.ways import NAME, connected, place_of

_READ_BYTES = 65_536
_SHAKE_SECONDS = 15.0


async def one_byte(scene: Scene) -> None:
    """0x16, with which a TLS handshake begins, and then nothing."""
    await _say_and_hold(scene, lambda: b"\x16")


async def half_hello(scene: Scene) -> None:
    """The first half of a ClientHello."""
    await _say_and_hold(scene, lambda: _client_hello()[:120])


async def slow_hello(scene: Scene) -> None:
    """A whole ClientHello, byte by byte, one a second."""
    await _say_and_hold(scene, _client_hello, slowly=True)


async def silent_tls(scene: Scene) -> None:
    """The TLS handshake as gRPC does it, and no request. A finished handshake may prove a better guest."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _until_end(reader, writer, speaks=False)

    await _shake_and_hold(scene, hold)


async def silent_lanes(scene: Scene) -> None:
    """Lanes that never say which session is theirs."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _until_end(reader, writer, speaks=False)

    await _shake_and_hold(scene, hold, protocol=LANE_PROTOCOL)


async def empty_calls(scene: Scene) -> None:
    """gRPC connections that keep up with its pings, and open calls whose messages never come."""
    paths = [f"/p2pinfer.wire.Inference/{name}" for name in ("Session", "Ping", "Settle", "Progress")]

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
        for number in range(scene.number("calls")):
            writer.write(request(2 * number + 1, paths[number % len(paths)]))
        scene.tally.counts["calls"] += scene.number("calls")
        await _until_end(reader, writer, speaks=True)

    await _shake_and_hold(scene, hold)


def _client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


async def _say_and_hold(scene: Scene, words: Callable[[], bytes], *, slowly: bool = False) -> None:
    loop = asyncio.get_running_loop()

    async def work(index: int) -> None:
        with contextlib.closing(await connected(place_of(scene.last), scene.source(index))) as sock:
            scene.tally.counts["connections"] += 1
            data = words()
            if slowly:
                for byte in data:
                    await loop.sock_sendall(sock, bytes([byte]))
                    await asyncio.sleep(1)
            else:
                await loop.sock_sendall(sock, data)
            while await loop.sock_recv(sock, _READ_BYTES):
                pass
            scene.tally.counts["closed by the server"] += 1

    await for_ever(scene, scene.number("connections"), work, rate=scene.numbers["rate"])


async def _shake_and_hold(
    scene: Scene,
    hold: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    protocol: str = "h2",
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols([protocol])
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def work(index: int) -> None:
        sock = await connected(place_of(scene.last), scene.source(index))
        try:
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=context, server_hostname=NAME, ssl_handshake_timeout=_SHAKE_SECONDS
            )
        except BaseException:
            sock.close()
            raise
        scene.tally.counts["connections"] += 1
        try:
            await hold(reader, writer)
            scene.tally.counts["closed by the server"] += 1
        finally:
            writer.transport.abort()

    await for_ever(scene, scene.number("connections"), work, rate=scene.numbers["rate"])


async def _until_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, speaks: bool) -> None:
    received = bytearray()
    while data := await reader.read(_READ_BYTES):
        received += data
        if speaks:
            for answer in answers(received):
                writer.write(answer)
            await writer.drain()
        else:
            received.clear()
