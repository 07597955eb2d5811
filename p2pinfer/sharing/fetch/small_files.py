"""Files of a few chunks, fetched into memory: they are looked at before anything is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from p2pinfer.errors import P2PInferError, ProtocolError, SwarmError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.plain_text import printable
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.sharing.fetch.calls import connected
from p2pinfer.sharing.fetch.chunk_call import receive_chunk
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.types import short_id
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.channels import ChannelPool

logger = logging.getLogger(__name__)

_SILENT_SECONDS = 15.0
_WAITING_SECONDS = 30.0
_SHOWN = 8


async def fetch_into_memory(
    manifest: Manifest, names: Iterable[str], holders: Sequence[Holder], pool: ChannelPool
) -> dict[str, bytes]:
    """The contents of these files, each chunk with its hash in the manifest. Peer after peer is asked.

    Raises SwarmError: which file is missing, and why each peer failed.
    """
    wanted = list(names)
    chunks: dict[int, bytes] = {}
    numbers = manifest.chunks.numbers_of(wanted)
    complaints: list[str] = []
    for holder in holders:
        if all(number in chunks for number in numbers):
            break
        try:
            await _ask(holder, manifest, numbers, chunks, pool)
        except ProtocolError as error:
            complaints.append(f"{short_id(holder.peer_id)}: {printable(str(error))}")
            logger.warning("peer %s sent a wrong file: %s", short_id(holder.peer_id), printable(str(error)))
        except P2PInferError as error:
            complaints.append(f"{short_id(holder.peer_id)}: {printable(str(error))}")
    for name in wanted:
        if any(number not in chunks for number in manifest.chunks.chunks_of(name)):
            asked = "; ".join(complaints[:_SHOWN]) or "nobody, no peer is known"
            raise SwarmError(
                f"no peer gives {name} of {manifest.name}. Asked: {asked}. Try again later, or give the "
                "model itself: a layer store, a folder or a .gguf file"
            )
    return {name: b"".join(chunks[number] for number in manifest.chunks.chunks_of(name)) for name in wanted}


async def _ask(
    holder: Holder, manifest: Manifest, numbers: Sequence[int], got: dict[int, bytes], pool: ChannelPool
) -> None:
    """Get from one peer what is still missing. Raises as the calls do; ProtocolError for a wrong chunk."""
    async with connected(pool, holder.address) as calls:
        for number in numbers:
            if number in got:
                continue
            mask = bitmaps.mask_of([number], manifest.chunks.total)
            request = pb.ChunkRequest(model=manifest.hash, first=number, wanted=bitmaps.pack(mask, number))
            call = calls.chunk(request, _SILENT_SECONDS)
            ask = Ask(holder.peer_id, frozenset([number]), asyncio.get_running_loop().time())

            def is_wanted(chunk: int, ask: Ask = ask) -> bool:
                ask.chunk = chunk
                return True

            try:
                data = await receive_chunk(
                    call, ask, manifest.chunks, is_wanted, _uncounted, waiting_seconds=_WAITING_SECONDS
                )
            finally:
                call.cancel()
            if data is None or not manifest.chunks.place(number).is_right(data):
                raise ProtocolError(f"chunk {number} has another hash than the manifest says")
            got[number] = data


def _uncounted(size_bytes: int) -> None:
    """The calls count their traffic themselves."""
