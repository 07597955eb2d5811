"""What strangers get from the service: what they may have, or a reason; and what they can't take from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from p2pinfer.errors import HopFailedError, RefusedError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.fetch.calls import SharingCalls
from p2pinfer.sharing.give.answers import Answers, Pace
from p2pinfer.sharing.give.service import Limits
from p2pinfer.sharing.manifest_summary import ManifestSummary
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.certificates import pinned
from p2pinfer.wire.channels import CHANNEL_OPTIONS
from p2pinfer.wire.status import Reason, Refused, refusal_of
from tests.sharing.peers import MIB, Peers, random_store

SECONDS = 30.0
LAYER = layer_file(0)


@dataclass
class ManualGate:
    """A gate that the test opens and closes."""

    refusal: Refused | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    sent_bytes: int = 0
    unsent_bytes: int = 0

    def may_begin(self) -> Refused | None:
        return self.refusal

    async def wait_to_send(self, size_bytes: int) -> None:
        await self.open.wait()

    def sent(self, size_bytes: int) -> None:
        self.sent_bytes += size_bytes

    def not_sent(self, size_bytes: int) -> None:
        self.unsent_bytes += size_bytes


@pytest.fixture
def model(tmp_path: Path) -> LayerStore:
    """Chunks: config, ends (2), a layer (4)."""
    return random_store(tmp_path / "model", [3 * MIB + 5])


def chunk_request(model: LayerStore, *numbers: int, first: int = 0) -> pb.ChunkRequest:
    """A request for chunks."""
    mask = bitmaps.mask_of(numbers, model.manifest.chunks.total)
    return pb.ChunkRequest(model=model.manifest.hash, first=first, wanted=bitmaps.pack(mask, first))


async def chunk(calls: SharingCalls, request: pb.ChunkRequest) -> tuple[int, bytes]:
    """Make a call for a chunk; returns its number and its bytes."""
    parts = [part async for part in calls.chunk(request, SECONDS) if part.data]
    assert all(len(part.data) <= 32 * 1024 for part in parts)
    return parts[0].chunk, b"".join(part.data for part in parts)


async def refusal(answers: AsyncIterator[object]) -> RefusedError:
    """The reason for which a call is refused."""
    with pytest.raises(RefusedError) as caught:
        [answer async for answer in answers]
    return caught.value


async def read_to_the_end(call: Any) -> None:
    """Raises what the call ends with."""
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_the_manifest_is_sent_as_it_is(peers: Peers, model: LayerStore):
    """Of the model that is asked for, or of the only one."""
    async with peers.calls(await peers.add(model)) as calls:
        for name in (model.manifest.hash, ""):
            parts = [part.data async for part in calls.manifest(pb.ManifestRequest(model=name), SECONDS)]
            assert Manifest.from_json(b"".join(parts).decode()) == model.manifest


async def test_the_summary_is_short(peers: Peers, model: LayerStore):
    """It has everything that people ask for first."""
    async with peers.calls(await peers.add(model)) as calls:
        [part] = [part async for part in calls.manifest(pb.ManifestRequest(summary=True), SECONDS)]
    assert ManifestSummary.from_json(part.data.decode()) == ManifestSummary.of(model.manifest)


async def test_a_chunk_comes_with_its_number(peers: Peers, model: LayerStore):
    """Wherever the bitmap begins."""
    place = model.manifest.chunks.place(4)
    expected = (model.folder / place.file).read_bytes()[place.offset : place.offset + place.size]
    gate = ManualGate()
    gate.open.set()
    async with peers.calls(await peers.add(model, gate=gate)) as calls:
        assert await chunk(calls, chunk_request(model, 4)) == (4, expected)
        assert await chunk(calls, chunk_request(model, 4, first=3)) == (4, expected)
    assert gate.sent_bytes == 2 * len(expected)


async def test_two_that_want_the_same_get_different_chunks(peers: Peers, model: LayerStore):
    """And each chunk is sent once before one is sent twice."""
    seeder = await peers.add(model)
    total = model.manifest.chunks.total
    async with peers.calls(seeder) as one, peers.calls(seeder) as other:
        request = chunk_request(model, *range(total))
        got = [await chunk(calls, request) for _ in range(total) for calls in (one, other)]

    assert {number for number, _ in got[:total]} == set(range(total))
    assert list(seeder.service.times_sent) == [2] * total


async def test_another_model_is_refused(peers: Peers, model: LayerStore):
    """The answer names the model that is here."""
    async with peers.calls(await peers.add(model)) as calls:
        for answers in (
            calls.manifest(pb.ManifestRequest(model="ab" * 32), SECONDS),
            calls.manifest(pb.ManifestRequest(model="ab" * 32, summary=True), SECONDS),
            calls.holdings(pb.HoldingsRequest(model=""), SECONDS),
            calls.chunk(pb.ChunkRequest(model="x"), SECONDS),
        ):
            error = await refusal(answers)
            assert error.reason == Reason.WRONG_MODEL and model.manifest.hash in str(error)


async def test_what_is_not_held_is_refused(peers: Peers, model: LayerStore):
    """Also an empty wish."""
    (model.folder / LAYER).unlink()
    number = model.manifest.chunks.chunks_of(LAYER)[0]
    async with peers.calls(await peers.add(model)) as calls:
        for request in (chunk_request(model, number), chunk_request(model)):
            assert (await refusal(calls.chunk(request, SECONDS))).reason == Reason.NOT_HELD


async def test_a_chunk_that_was_altered_on_disk_is_refused(peers: Peers, model: LayerStore):
    """Nobody gets a wrong byte; the next request gets another chunk."""
    first, second, *_ = model.manifest.chunks.chunks_of(LAYER)
    peer = await peers.add(model)
    with (model.folder / LAYER).open("r+b") as file:
        file.write(b"altered")
    async with peers.calls(peer) as calls:
        assert (await refusal(calls.chunk(chunk_request(model, first), SECONDS))).reason == Reason.NOT_HELD
        assert (await chunk(calls, chunk_request(model, first, second)))[0] == second
    assert first not in peer.holdings


async def test_bitmaps_beyond_the_model_are_refused(peers: Peers, model: LayerStore):
    """However they are wrong."""
    name = model.manifest.hash
    async with peers.calls(await peers.add(model)) as calls:
        for request in (
            pb.ChunkRequest(model=name, first=2**32 - 1, wanted=b"\1"),
            pb.ChunkRequest(model=name, wanted=b"\0" * 60 + b"\1"),
            pb.ChunkRequest(model=name, wanted=b"\0" * 40_000),
        ):
            assert (await refusal(calls.chunk(request, SECONDS))).reason == Reason.BAD_STEP


@pytest.mark.parametrize("method", ["GetManifest", "WatchHoldings", "GetChunk"])
async def test_a_request_that_is_no_message_is_refused(
    peers: Peers, model: LayerStore, method: str, caplog: pytest.LogCaptureFixture
):
    """Without a line in the log: strangers would fill it."""
    peer = await peers.add(model)
    async with peers.pool().connected(peer.address) as channel:
        call = channel.unary_stream(f"/p2pinfer.wire.Sharing/{method}")(b"\xff\xff\xff garbage")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    refused = refusal_of(caught.value)
    assert refused is not None and refused.reason is Reason.BAD_OPENING
    assert caplog.messages == []


async def test_watchers_learn_what_is_held_and_what_comes(peers: Peers, model: LayerStore):
    """First everything, then what is new."""
    peer = await peers.add_empty(model)
    peer.holdings.add([1])
    async with peers.calls(peer) as calls:
        call = calls.holdings(pb.HoldingsRequest(model=model.manifest.hash), SECONDS)
        first = await anext(call)
        assert bitmaps.numbers_of(bitmaps.unpack(first.held, first.first, peer.holdings.chunks.total)) == [1]

        peer.holdings.add([4, 2])
        assert list((await anext(call)).more.numbers) == [4, 2]
        call.cancel()


async def test_the_owners_no_is_an_answer_with_a_time(peers: Peers, model: LayerStore):
    """People may still see the summary, and peers what is held."""
    gate = ManualGate(refusal=Refused(Reason.NOT_SHARING, "not now", 33.0))
    async with peers.calls(await peers.add(model, gate=gate)) as calls:
        for answers in (
            calls.chunk(chunk_request(model, 1), SECONDS),
            calls.manifest(pb.ManifestRequest(), SECONDS),
        ):
            error = await refusal(answers)
            assert (error.reason, error.retry_after_seconds) == (Reason.NOT_SHARING, 33.0)
        assert [part async for part in calls.manifest(pb.ManifestRequest(summary=True), SECONDS)]


async def test_a_peer_that_has_to_wait_is_told_so(peers: Peers, model: LayerStore):
    """In a long queue, and while the gate is shut: silence would look like a dead peer."""
    gate = ManualGate()
    limits = Limits(sending=1, pulse_seconds=0.02)
    async with peers.calls(await peers.add(model, gate=gate, limits=limits)) as calls:
        sending, waiting = (calls.chunk(chunk_request(model, number), SECONDS) for number in (1, 2))
        for call in (sending, waiting, sending, waiting):
            part = await anext(call)
            assert part.data == b""

        gate.open.set()
        parts = [part async for part in sending if part.data]
        assert parts[0].chunk == 1
        assert [part.chunk async for part in waiting if part.data][:1] == [2]


async def test_more_than_can_wait_are_refused(peers: Peers, model: LayerStore):
    """With a time to come back."""
    limits = Limits(sending=1, waiting=1, retry_seconds=3.0, pulse_seconds=0.01)
    async with peers.calls(await peers.add(model, gate=ManualGate(), limits=limits)) as calls:
        held = [calls.chunk(chunk_request(model, 1), SECONDS) for _ in range(2)]
        for call in held:
            await anext(call)
        error = await refusal(calls.chunk(chunk_request(model, 1), SECONDS))
        assert (error.reason, error.retry_after_seconds) == (Reason.BUSY, 3.0)
        for call in held:
            call.cancel()


async def test_a_newcomer_gets_the_place_of_the_oldest_watcher(peers: Peers, model: LayerStore):
    """Who takes all places and keeps them shuts nobody out. The oldest is told when to come back."""
    limits = Limits(watchers=2, retry_seconds=3.0)
    request = pb.HoldingsRequest(model=model.manifest.hash)
    async with peers.calls(await peers.add(model, limits=limits)) as calls:
        watching = []
        for _ in range(3):
            watching.append(calls.holdings(request, SECONDS))
            await anext(watching[-1])

        error = await refusal(watching[0])
        assert (error.reason, error.retry_after_seconds) == (Reason.BUSY, 3.0)
        for call in watching[1:]:
            call.silent_seconds = 0.05
            with pytest.raises(HopFailedError, match="silent"):
                await anext(call)
            call.cancel()


async def test_a_peer_that_reads_nothing_loses_its_turn(peers: Peers, model: LayerStore):
    """Another that waits for it gets its chunk, and what was not read doesn't count as sent."""
    gate = ManualGate()
    gate.open.set()
    peer = await peers.add(model, limits=Limits(sending=1, stall_seconds=0.2), gate=gate)
    number = model.manifest.chunks.chunks_of(LAYER)[0]
    small_window = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 * 1024))
    async with grpc.aio.secure_channel(
        peer.address.endpoints[0],
        pinned(peer.address.certificate),
        options=(*CHANNEL_OPTIONS, *small_window),
    ) as channel:
        request = chunk_request(model, number).SerializeToString()
        stalled = channel.unary_stream("/p2pinfer.wire.Sharing/GetChunk")(request)
        await stalled.read()

        async with asyncio.timeout(SECONDS), peers.calls(peer) as calls:
            got, data = await chunk(calls, chunk_request(model, number))
        assert (got, len(data)) == (number, MIB)
        assert peer.service.times_sent[number] == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_to_the_end(stalled)
    refused = refusal_of(caught.value)
    assert refused is not None and refused.reason is Reason.IDLE
    assert 0 < gate.unsent_bytes <= 32 * 1024


async def test_a_peer_that_reads_slowly_loses_its_turn_if_others_wait(peers: Peers, model: LayerStore):
    """It may read a little whenever it would be cut off: in all it has a bounded time."""

    class Reader:
        async def write(self, message: Any) -> None:
            await asyncio.sleep(0.02)

    answers = Answers(Reader(), 1.0, Pace(MIB, 0.05))

    async def write(parts: int, size_bytes: int | None) -> None:
        for _ in range(parts):
            await answers.write(pb.ChunkPart(), size_bytes)

    await write(10, None)  # nobody waits
    await write(1, 1024)
    with pytest.raises(Refused) as caught:
        await write(5, 1024)
    assert caught.value.reason is Reason.IDLE


def test_a_reader_that_takes_a_little_now_and_then_has_its_time():
    """Ten seconds, and a second for each 16 KiB; waiting for anything else doesn't count."""
    pace, seconds = Pace(16 * 1024, 10.0), 0.0
    for _ in range(32):
        allowed = pace.seconds_for(32 * 1024)
        seconds += min(allowed, 5.0)
        pace.took(min(allowed, 5.0))

    assert seconds == 10.0 + 64.0
