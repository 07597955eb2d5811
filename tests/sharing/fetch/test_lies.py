"""Whatever a peer sends in place of the truth: it is named and dropped, and others help."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing import bitmaps
from p2pinfer.tasks import ending
from p2pinfer.types import short_id
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.sharing_pb2_grpc import SharingServicer
from tests.sharing.peers import MIB, QUICK, Peers, random_store, same_files

Say = Callable[[Any, int], Awaitable[None]]
"""Answers a request for a chunk, of which this is the first number wanted."""


class Liar(SharingServicer):
    """Announces the layer, whose chunks are all large, and answers requests for chunks with `say`."""

    def __init__(self, total: int, say: Say, watch: Callable[[Any], Awaitable[None]] | None = None) -> None:
        self._total = total
        self._say = say
        self._watch = watch
        self.asked = 0

    async def WatchHoldings(self, request: pb.HoldingsRequest, context: Any) -> None:
        held = bitmaps.pack(bitmaps.mask_of(range(3, self._total), self._total))
        await context.write(pb.Holdings(held=held))
        if self._watch is not None:
            await self._watch(context)
        await asyncio.Event().wait()

    async def GetChunk(self, request: pb.ChunkRequest, context: Any) -> None:
        self.asked += 1
        wanted = bitmaps.unpack(request.wanted, request.first, self._total)
        await self._say(context, bitmaps.numbers_of(wanted)[0])


async def wrong_bytes(context: Any, number: int) -> None:
    """The right size, so far as it matters, and other bytes."""
    for _ in range(MIB // 32768):
        await context.write(pb.ChunkPart(chunk=number, data=b"x" * 32768))


async def too_many_bytes(context: Any, number: int) -> None:
    while True:
        await context.write(pb.ChunkPart(chunk=number, data=b"x" * 60000))


async def another_chunk(context: Any, number: int) -> None:
    await context.write(pb.ChunkPart(chunk=999_999, data=b"x" * 32768))


async def crumbs(context: Any, number: int) -> None:
    while True:
        await context.write(pb.ChunkPart(chunk=number, data=b"x"))


async def only_pulses(context: Any, number: int) -> None:
    while True:
        await context.write(pb.ChunkPart())


async def nothing(context: Any, number: int) -> None:
    await asyncio.Event().wait()


async def half_a_chunk(context: Any, number: int) -> None:
    await context.write(pb.ChunkPart(chunk=number, data=b"x" * 32768))


async def half_a_chunk_and_silence(context: Any, number: int) -> None:
    await context.write(pb.ChunkPart(chunk=number, data=b"x" * 32768))
    await asyncio.Event().wait()


async def a_fault(context: Any, number: int) -> None:
    await context.abort(grpc.StatusCode.INTERNAL, "\x1b[31mboo\n" * 100)


async def an_odd_refusal(context: Any, number: int) -> None:
    trailing = (("p2pinfer-reason", "no-such-word"), ("p2pinfer-retry-after-seconds", "nan"))
    await context.abort(grpc.StatusCode.NOT_FOUND, "odd", trailing)


async def not_held(context: Any, number: int) -> None:
    trailing = (("p2pinfer-reason", "not-held"),)
    await context.abort(grpc.StatusCode.NOT_FOUND, "after all", trailing)


async def announce_nonsense(context: Any) -> None:
    await context.write(pb.Holdings(more=pb.Numbers(numbers=[2**32 - 1])))


async def announce_a_huge_bitmap(context: Any) -> None:
    await context.write(pb.Holdings(first=7, held=b"\xff" * 32768))


async def announce_the_same_for_ever(context: Any) -> None:
    while True:
        await context.write(pb.Holdings(more=pb.Numbers(numbers=[0])))


async def end_the_watch(context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAVAILABLE, "bye")


@pytest.fixture
def model(tmp_path: Path) -> LayerStore:
    return random_store(tmp_path / "model", [4 * MIB])


class Warnings(logging.Handler):
    """Tells of the first warning about a peer of a fetch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def emit(self, record: logging.LogRecord) -> None:
        if not self._first.done():
            self._first.set_result(record.getMessage())

    async def first(self) -> str:
        async with asyncio.timeout(20):
            return await self._first


async def warning_of(fetch: Coroutine[Any, Any, object]) -> str:
    """The first warning of a fetch, which is then ended."""
    logger = logging.getLogger("p2pinfer.sharing.fetch.crew")
    warnings = Warnings()
    logger.addHandler(warnings)
    try:
        async with ending(asyncio.ensure_future(fetch)):
            return await warnings.first()
    finally:
        logger.removeHandler(warnings)


PATIENT = replace(QUICK, patience_seconds=30.0)


@pytest.mark.parametrize("say", [wrong_bytes, too_many_bytes, another_chunk, crumbs, only_pulses])
async def test_a_liar_is_named_and_dropped(
    peers: Peers, model: LayerStore, caplog: pytest.LogCaptureFixture, say: Say
):
    """An honest peer gives the rest; the liar is asked for nothing more, in this fetch."""
    caplog.set_level(logging.WARNING)
    service = Liar(model.manifest.chunks.total, say)
    liar, joiner = await peers.add(model, service=service), await peers.add_empty(model)

    warning = await warning_of(joiner.fetch(liar, settings=PATIENT))

    assert f"{short_id(liar.peer_id)} lied" in warning
    assert len(joiner.holdings) == 0
    assert service.asked <= 6  # three at a time, and those that had begun

    caplog.clear()
    summary = await joiner.fetch(liar, await peers.add(model), settings=PATIENT)
    assert same_files(model, joiner.store)
    assert summary.liars in ((), (liar.peer_id,))
    assert len(caplog.messages) == len(summary.liars)


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        (announce_nonsense, "announces chunk 4294967295"),
        (announce_a_huge_bitmap, "a bitmap names chunks beyond"),
        (announce_the_same_for_ever, "announces the same"),
    ],
)
async def test_a_liar_about_its_holdings_is_dropped(peers: Peers, model: LayerStore, watch: Any, words: str):
    """Chunks that don't exist, bitmaps of any size, endless news."""
    liar = await peers.add(model, service=Liar(model.manifest.chunks.total, nothing, watch))
    joiner = await peers.add_empty(model)

    warning = await warning_of(joiner.fetch(liar, settings=PATIENT))

    assert short_id(liar.peer_id) in warning and words in warning


@pytest.mark.parametrize(
    "say", [nothing, half_a_chunk, half_a_chunk_and_silence, a_fault, an_odd_refusal, not_held]
)
async def test_a_peer_that_fails_is_no_liar_and_holds_nothing_up(
    peers: Peers, model: LayerStore, say: Say, caplog: pytest.LogCaptureFixture
):
    """What it was asked for is asked of another; what it says about it can't control a terminal."""
    caplog.set_level(logging.INFO)
    failing = await peers.add(model, service=Liar(model.manifest.chunks.total, say))
    joiner = await peers.add_empty(model)

    summary = await joiner.fetch(
        failing, await peers.add(model), settings=replace(PATIENT, silent_seconds=0.2)
    )

    assert same_files(model, joiner.store)
    assert summary.liars == ()
    assert "\x1b" not in caplog.text


async def test_a_peer_whose_watch_ends_is_asked_again(peers: Peers, model: LayerStore):
    """After a while: it may have restarted."""
    failing = await peers.add(model, service=Liar(model.manifest.chunks.total, nothing, end_the_watch))
    joiner = await peers.add_empty(model)

    await joiner.fetch(failing, await peers.add(model), settings=replace(PATIENT, silent_seconds=0.3))

    assert same_files(model, joiner.store)


async def test_messages_that_are_none_are_lies(
    peers: Peers, model: LayerStore, caplog: pytest.LogCaptureFixture
):
    """gRPC would log a traceback for each; here it is one line."""

    class Garbage(SharingServicer):
        pass

    async def garbage(data: bytes, context: Any) -> None:
        await context.write(b"\xff\xff\xff no message")

    peer = await peers.add(model, service=Garbage())
    await peer.stop()
    handlers = {
        name: grpc.unary_stream_rpc_method_handler(garbage)
        for name in ("GetManifest", "WatchHoldings", "GetChunk")
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("p2pinfer.wire.Sharing", handlers),)
    )
    peer.port = server.add_secure_port("127.0.0.1:0", peer.certificate.credentials)
    await server.start()
    joiner = await peers.add_empty(model)
    try:
        assert "can't be parsed" in await warning_of(joiner.fetch(peer, settings=PATIENT))
    finally:
        await server.stop(None)
    assert len(caplog.messages) == 1


async def test_a_server_of_another_version_is_passed_over(peers: Peers, model: LayerStore):
    """It knows no such call."""
    old = await peers.add(model, service=SharingServicer())
    joiner = await peers.add_empty(model)

    with pytest.raises(SwarmError, match="shares no files"):
        await joiner.fetch(old, settings=replace(QUICK, patience_seconds=2.0))
