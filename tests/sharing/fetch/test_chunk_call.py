"""One chunk is received in bounded time, however slowly a peer sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from p2pinfer.errors import HopFailedError
from p2pinfer.model.layer_store.chunks import CHUNK_BYTES, ChunkMap, FileEntry
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.sharing.fetch.chunk_call import receive_chunk
from p2pinfer.types import PeerId
from p2pinfer.wire import sharing_pb2 as pb

CHUNKS = ChunkMap({"a": FileEntry("", 2 * CHUNK_BYTES, ("x", "y"))})


async def parts_of(parts: Sequence[pb.ChunkPart], pause_seconds: float) -> AsyncIterator[pb.ChunkPart]:
    """Each after a pause."""
    for part in parts:
        await asyncio.sleep(pause_seconds)
        yield part


async def receive(
    parts: Sequence[pb.ChunkPart], *, pause_seconds: float = 0.0, waiting_seconds: float = 0.05
) -> bytes | None:
    """What comes of these parts, if chunk 1 is asked for."""
    ask = Ask(PeerId("peer"), frozenset({1}), 0.0)

    def is_wanted(number: int) -> bool:
        ask.chunk = number
        return True

    call: Any = parts_of(parts, pause_seconds)
    return await receive_chunk(
        call, ask, CHUNKS, is_wanted, lambda number: None, waiting_seconds=waiting_seconds
    )


async def test_parts_become_the_chunk():
    """Parts without data between them are signs of life."""
    half = b"x" * (CHUNK_BYTES // 2)
    parts = [pb.ChunkPart(), pb.ChunkPart(chunk=1, data=half), pb.ChunkPart(), pb.ChunkPart(data=half)]

    assert await receive(parts) == 2 * half


@pytest.mark.parametrize("end", [[pb.ChunkPart(data=b"x")] * 9, [pb.ChunkPart()] * 9])
async def test_a_peer_that_trickles_is_given_up(end: list[pb.ChunkPart]):
    """With data, and with signs of life."""
    with pytest.raises(HopFailedError, match=r"too slowly|sent nothing"):
        await receive([pb.ChunkPart(chunk=1, data=b"x"), *end], pause_seconds=0.02)


async def test_a_chunk_that_ends_early_is_no_chunk():
    """Nor one that never began."""
    for parts in ([pb.ChunkPart(chunk=1, data=b"x")], [pb.ChunkPart()], []):
        with pytest.raises(HopFailedError, match="before the chunk was complete"):
            await receive(parts)
