"""A model's manifest, by its hash, from whichever peer gives it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from p2pinfer.errors import HopFailedError, ProtocolError, StoreError, SwarmError
from p2pinfer.model.layer_store.manifest import MAX_MANIFEST_BYTES, Manifest
from p2pinfer.model.layer_store.outline import Outline, check_outline
from p2pinfer.sharing.fetch.calls import SharingCalls, connected
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.fetch.several import PATIENCE_SECONDS, Several
from p2pinfer.sharing.manifest_summary import MAX_SUMMARY_BYTES, ManifestSummary
from p2pinfer.threads import in_thread
from p2pinfer.types import short_id
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.channels import ChannelPool

_SILENT_SECONDS = 15.0
_LEAST_BYTES_PER_SECOND = 16 * 1024  # after the first seconds: slower peers are given up
_MOST_PARTS_WITHOUT_DATA = 100


async def fetch_manifest(
    model_hash: str,
    holders: Sequence[Holder],
    pool: ChannelPool,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Manifest:
    """The manifest with this hash; several peers are asked at once, busy ones for `patience_seconds`.

    Raises SwarmError: why each of them failed.
    """
    one_reads = asyncio.Lock()  # a large one takes a second, and memory

    async def talk(holder: Holder, calls: SharingCalls) -> Manifest:
        text = await _receive(holder, calls, pb.ManifestRequest(model=model_hash), MAX_MANIFEST_BYTES)
        async with one_reads:
            return await in_thread(lambda: _read(text, model_hash))

    several = Several(holders, pool, patience_seconds=patience_seconds)
    manifest = await several.ask(talk)
    if manifest is None:
        raise SwarmError(
            f"no peer gives the manifest of model {model_hash[:12]}. Asked: {several.complaints}"
        )
    return manifest


async def fetch_summary(holder: Holder, pool: ChannelPool, model: str = "") -> ManifestSummary:
    """What a peer says about a model, by default the one that it serves: unverified words for people.

    Raises HopFailedError, RefusedError, or ProtocolError if it is nonsense.
    """
    request = pb.ManifestRequest(model=model, summary=True)
    try:
        async with connected(pool, holder.address) as calls:
            text = await _receive(holder, calls, request, MAX_SUMMARY_BYTES)
        return ManifestSummary.from_json(text.decode())
    except (StoreError, UnicodeDecodeError) as error:
        raise ProtocolError(
            f"peer {short_id(holder.peer_id)} describes its model wrongly: {error}"
        ) from error


async def _receive(
    holder: Holder, calls: SharingCalls, request: pb.ManifestRequest, most_bytes: int
) -> bytearray:
    """The text that a peer sends, in bounded time and memory.

    Raises as the calls do, and StoreError if it is no outline of a manifest.
    """
    text = bytearray()
    outline = Outline()
    empty = 0
    call = calls.manifest(request, _SILENT_SECONDS)
    started = time.monotonic()
    try:
        async for part in call:
            text += part.data
            outline.add(part.data)
            empty += not part.data
            if len(text) > most_bytes or empty > _MOST_PARTS_WITHOUT_DATA:
                raise ProtocolError("it sends too much to be a manifest")
            seconds = time.monotonic() - started
            if seconds > _SILENT_SECONDS + len(text) / _LEAST_BYTES_PER_SECOND:
                raise HopFailedError(holder.peer_id, "it sends the manifest too slowly", certain=False)
    finally:
        call.cancel()
    return text


def _read(text: bytearray, model_hash: str) -> Manifest:
    check_outline(text)
    try:
        manifest = Manifest.from_json(text.decode())
    except UnicodeDecodeError as error:
        raise StoreError("it is no text") from error
    if manifest.hash != model_hash:
        raise StoreError(f"it has the hash {manifest.hash[:12]}")
    return manifest
