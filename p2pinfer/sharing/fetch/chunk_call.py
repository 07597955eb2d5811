"""Receives one chunk, whatever a peer may send in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pinfer.errors import HopFailedError, ProtocolError
from p2pinfer.model.layer_store.chunks import ChunkMap
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.sharing.fetch.calls import Call
from p2pinfer.wire import sharing_pb2 as pb

WAITING_SECONDS = 90.0
"""So long a peer may say that it has to wait, without a byte of data."""

_LEAST_BYTES_PER_SECOND = 2048  # after that: 16 calls on a line of 256 kbit/s
_MOST_PULSES = 200
_LEAST_PART_BYTES = 1024  # on average; parts have 32 KiB


async def receive_chunk(
    call: Call[pb.ChunkPart],
    ask: Ask,
    chunks: ChunkMap,
    is_wanted: Callable[[int], bool],
    count: Callable[[int], None],
    *,
    waiting_seconds: float = WAITING_SECONDS,
) -> bytes | None:
    """The bytes of the chunk that the peer chose, `ask.chunk`; they aren't compared with its hash yet.

    `is_wanted` is asked once, when the peer has named the chunk, and `count` is told of all bytes. None: the
    chunk isn't wanted (any more). Raises as Call does, and ProtocolError for a chunk that wasn't asked for,
    too many bytes, or an endless stream of crumbs.
    """
    now = asyncio.get_running_loop().time
    parts: list[bytes] = []
    size, pulses = 0, 0
    named_at = last_data_at = now()
    while (part := await _next_part(call, ask)) is not None:
        count(len(part.data))
        if not part.data:
            pulses += 1
            if now() - last_data_at > waiting_seconds:
                raise HopFailedError(
                    ask.peer_id, f"it sent nothing for {waiting_seconds:.0f} s", certain=False
                )
            if pulses > _MOST_PULSES:
                raise ProtocolError("it sends parts without data, endlessly")
            continue
        last_data_at = now()
        if ask.chunk is None:
            named_at = last_data_at
            if part.chunk not in ask.numbers:
                raise ProtocolError(f"it sends chunk {part.chunk}, which it wasn't asked for")
            if not is_wanted(part.chunk):
                ask.received_bytes += len(part.data)
                return None
            size = chunks.place(part.chunk).size
        if last_data_at - named_at > waiting_seconds + ask.received_bytes / _LEAST_BYTES_PER_SECOND:
            raise HopFailedError(ask.peer_id, "it sends too slowly", certain=False)
        parts.append(part.data)
        ask.received_bytes += len(part.data)
        if ask.received_bytes > size:
            raise ProtocolError(f"it sends more than the {size} bytes of chunk {ask.chunk}")
        if len(parts) > 64 + ask.received_bytes // _LEAST_PART_BYTES:
            raise ProtocolError("it sends crumbs")
    if ask.is_over:
        return None
    if ask.chunk is None or ask.received_bytes < size:
        raise HopFailedError(ask.peer_id, "it ended the call before the chunk was complete", certain=False)
    return b"".join(parts)


async def _next_part(call: Call[pb.ChunkPart], ask: Ask) -> pb.ChunkPart | None:
    """None: the peer has ended the call well, or we have, because the ask is over."""
    try:
        return await anext(call, None)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if ask.is_over and task is not None and not task.cancelling():
            return None
        raise
