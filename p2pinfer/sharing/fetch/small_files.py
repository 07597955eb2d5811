"""Files of a few chunks, fetched into memory: they are looked at before anything is written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from p2pinfer.errors import ProtocolError, SwarmError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.sharing.fetch.calls import SharingCalls
from p2pinfer.sharing.fetch.chunk_call import receive_chunk
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.fetch.several import PATIENCE_SECONDS, Several
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.channels import ChannelPool

_SILENT_SECONDS = 15.0
_WAITING_SECONDS = 30.0
_AGAIN_SECONDS = 2.0  # a chunk that doesn't come within this time is asked of another peer too
_LOOK_SECONDS = 0.05


async def fetch_into_memory(
    manifest: Manifest,
    names: Iterable[str],
    holders: Sequence[Holder],
    pool: ChannelPool,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> dict[str, bytes]:
    """The contents of these files, each chunk with its hash in the manifest.

    Several peers are asked at once, busy ones for `patience_seconds`. Raises SwarmError: which file is
    missing, and why each peer failed.
    """
    wanted = list(names)
    files = _Files(manifest, wanted)
    several = Several(holders, pool, patience_seconds=patience_seconds)
    if files.missing:
        await several.ask(files.get)
    for name in wanted:
        if any(number not in files.chunks for number in manifest.chunks.chunks_of(name)):
            raise SwarmError(
                f"no peer gives {name} of {manifest.name}. Asked: {several.complaints}. Try again later, or "
                "give the model itself: a layer store, a folder or a .gguf file"
            )
    return {
        name: b"".join(files.chunks[number] for number in manifest.chunks.chunks_of(name)) for name in wanted
    }


class _Files:
    """The chunks of some files, which several peers bring together."""

    def __init__(self, manifest: Manifest, names: Iterable[str]) -> None:
        self.chunks: dict[int, bytes] = {}
        self.missing = set(manifest.chunks.numbers_of(list(names)))
        self._manifest = manifest
        self._asked_at = dict.fromkeys(self.missing, float("-inf"))

    async def get(self, holder: Holder, calls: SharingCalls) -> bool:
        """Get what is missing from one peer, until nothing is.

        Raises as the calls do; ProtocolError for a wrong chunk.
        """
        now = asyncio.get_running_loop().time
        while self.missing:
            number = min(self.missing, key=lambda number: self._asked_at[number])
            if (wait := self._asked_at[number] + _AGAIN_SECONDS - now()) > 0:
                await asyncio.sleep(min(wait, _LOOK_SECONDS))  # others bring all that is missing
                continue
            self._asked_at[number] = now()
            try:
                await self._get(holder, calls, number)
            except BaseException:
                self._asked_at[number] = float("-inf")
                raise
        return True

    async def _get(self, holder: Holder, calls: SharingCalls, number: int) -> None:
        chunks = self._manifest.chunks
        mask = bitmaps.mask_of([number], chunks.total)
        request = pb.ChunkRequest(model=self._manifest.hash, first=number, wanted=bitmaps.pack(mask, number))
        call = calls.chunk(request, _SILENT_SECONDS)
        ask = Ask(holder.peer_id, frozenset([number]), asyncio.get_running_loop().time())

        def is_wanted(chunk: int) -> bool:
            ask.chunk = chunk
            return True

        try:
            data = await receive_chunk(
                call, ask, chunks, is_wanted, _uncounted, waiting_seconds=_WAITING_SECONDS
            )
        finally:
            call.cancel()
        if data is None or not chunks.place(number).is_right(data):
            raise ProtocolError(f"chunk {number} has another hash than the manifest says")
        self.chunks[number] = data
        self.missing.discard(number)


def _uncounted(size_bytes: int) -> None:
    """The calls count their traffic themselves."""
