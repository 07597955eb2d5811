"""Visitors of the health page that don't go on: half requests, slow bodies, listeners."""

from __future__ import annotations

import asyncio
import contextlib

from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.ways import connected

_READ_BYTES = 65_536
_SLOW_SECONDS = 1.0
_HEAD = "POST /api/v1/receipts HTTP/1.1\r\nhost: page\r\ncontent-type: application/octet-stream\r\n"


async def half_requests(scene: Scene) -> None:
    """A request without its end; with `slowly`, a header line more each second."""
    await _visit(scene, b"GET / HTTP/1.1\r\nhost: page\r\n", b"x-more: 1\r\n")


async def slow_posts(scene: Scene) -> None:
    """Receipts that are handed in a byte a second."""
    await _visit(scene, (_HEAD + "content-length: 100000\r\n\r\n").encode(), b"x")


async def listeners(scene: Scene) -> None:
    """Event streams that are kept open."""
    await _visit(
        scene, b"GET /api/v1/events HTTP/1.1\r\nhost: page\r\naccept: text/event-stream\r\n\r\n", b""
    )


async def _visit(scene: Scene, begin: bytes, more: bytes) -> None:
    loop = asyncio.get_running_loop()
    slowly = bool(scene.numbers.get("slowly"))

    async def work(index: int) -> None:
        with contextlib.closing(await connected(scene.page, scene.source(index))) as sock:
            scene.tally.counts["connections"] += 1
            await loop.sock_sendall(sock, begin)
            if not slowly:
                received = bytearray()
                while data := await loop.sock_recv(sock, _READ_BYTES):
                    if not received:
                        _count(scene, data)
                    received = bytearray(b"seen")
                scene.tally.counts["closed by the page"] += 1
                return
            while True:
                await asyncio.sleep(_SLOW_SECONDS)
                await loop.sock_sendall(sock, more)

    await for_ever(scene, scene.number("connections"), work, rate=scene.numbers["rate"])


def _count(scene: Scene, data: bytes) -> None:
    """Count the status of an answer."""
    status = data.split(b" ", 2)[1:2]
    words = status[0].decode("ascii", "replace") if status else "no status"
    if words == "200":
        scene.tally.counts["answers 200"] += 1
    else:
        scene.tally.refusals[f"HTTP {words}"] += 1
