"""The work with one peer: it says what it holds, and a few calls at a time bring what is needed of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from p2pinfer.backoff import jittered
from p2pinfer.errors import HopFailedError, ProtocolError, RefusedError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.fetch.ask import Ask
from p2pinfer.sharing.fetch.calls import SharingCalls, connected
from p2pinfer.sharing.fetch.chunk_call import receive_chunk
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.fetch.plan import Plan
from p2pinfer.tasks import all_of
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.status import Reason

CALLS_AT_ONCE = 3
"""While one call ends and the next one begins, others keep the line busy."""

SILENT_SECONDS = 15.0
"""A peer that has to wait says so every 5 seconds."""

REWATCH_SECONDS = 15.0
"""A peer with too many watchers is asked for what it may hold, and not soon again what that is."""

_IDLE_SECONDS = 0.1  # between two looks whether there is something to ask for
_BUSY_SECONDS = 2.0
_SMOOTHING = 0.3
_MOST_EMPTY_NEWS = 1000


class PeerWork:
    """Fetches from one peer until that fails or is cancelled."""

    def __init__(
        self,
        holder: Holder,
        manifest: Manifest,
        pool: ChannelPool,
        plan: Plan,
        write: Callable[[int, bytes], Awaitable[bool]],
        came: Callable[[int], None],
        *,
        silent_seconds: float = SILENT_SECONDS,
        rewatch_seconds: float = REWATCH_SECONDS,
    ) -> None:
        """`write` compares a chunk with its hash and writes it; `came` is told of each that was needed."""
        self.holder = holder
        self.received_bytes = 0
        self.good_chunks = 0  # that had the right hash
        self._manifest = manifest
        self._pool = pool
        self._plan = plan
        self._write = write
        self._came = came
        self._silent_seconds = silent_seconds
        self._rewatch_seconds = rewatch_seconds
        self._held = bitmaps.empty(manifest.chunks.total)
        self._news = asyncio.Event()
        self._looking = asyncio.Lock()
        self._rate: float | None = None  # bytes per second of one call

    @property
    def is_useful(self) -> bool:
        """True if it holds something that is needed."""
        return bool((self._held & self._plan.needed).any())

    async def run(self) -> None:
        """Fetch for ever.

        Raises HopFailedError if the peer fails or hangs, RefusedError if it gives nothing now, ProtocolError
        if it lies, and StoreError if this disk can't take what comes.
        """
        async with connected(self._pool, self.holder.address) as calls:
            try:
                fetching = (self._fetch_forever(calls) for _ in range(CALLS_AT_ONCE))
                await all_of(self._watch_forever(calls), *fetching)
            finally:
                self._plan.withdrawn(self._held)
                self._held = bitmaps.empty(len(self._held))

    async def _watch_forever(self, calls: SharingCalls) -> None:
        """Learn what the peer holds. One that has no place for us is asked for what it may hold."""
        while True:
            try:
                await self._watch(calls)
            except RefusedError as refused:
                if refused.reason != Reason.BUSY:
                    raise
                if not self._held.any():
                    self._assume()
                pause_seconds = max(self._rewatch_seconds, refused.retry_after_seconds or 0.0)
            await asyncio.sleep(jittered(pause_seconds))

    def _assume(self) -> None:
        """What isn't here after all is learnt when it's asked for."""
        hint, chunks = self.holder.may_hold, self._manifest.chunks
        names = [name for name in self._manifest.files if hint is None or name in hint]
        self._hold(bitmaps.mask_of(chunks.numbers_of(names), chunks.total))

    def _hold(self, new: bitmaps.Mask) -> None:
        self._plan.offered(new)
        self._held |= new
        self._news.set()
        self._news = asyncio.Event()

    async def _watch(self, calls: SharingCalls) -> None:
        call = calls.holdings(pb.HoldingsRequest(model=self._manifest.hash), self._silent_seconds)
        empty = 0
        try:
            async for news in call:
                call.silent_seconds = None  # it speaks only when it has got something
                new = self._read(news) & ~self._held
                if not new.any():
                    empty += 1
                    if empty > _MOST_EMPTY_NEWS:
                        raise ProtocolError("it announces the same again and again")
                self._hold(new)
        finally:
            call.cancel()
        raise HopFailedError(self.holder.peer_id, "it ended the call", certain=False)

    def _read(self, news: pb.Holdings) -> bitmaps.Mask:
        total = self._manifest.chunks.total
        if news.WhichOneof("what") != "more":
            return bitmaps.unpack(news.held, news.first, total)
        numbers = news.more.numbers
        if numbers and max(numbers) >= total:
            raise ProtocolError(f"it announces chunk {max(numbers)} of {total}")
        return bitmaps.mask_of(numbers, total)

    async def _fetch_forever(self, calls: SharingCalls) -> None:
        while True:
            async with self._looking:  # one looks; the next one does when it has found something
                ask = await self._next_ask()
            await asyncio.sleep(await self._fetch(calls, ask))

    async def _next_ask(self) -> Ask:
        """Wait until there is something to ask this peer for."""
        now = asyncio.get_running_loop().time
        while (ask := self._plan.ask(self.holder.peer_id, self._held, now(), self._rate)) is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(jittered(_IDLE_SECONDS)):
                    await self._news.wait()
        return ask

    async def _fetch(self, calls: SharingCalls, ask: Ask) -> float:
        """Get one chunk. Returns the seconds to wait before the next."""
        now = asyncio.get_running_loop().time
        first = min(ask.numbers)
        mask = bitmaps.mask_of(ask.numbers, len(self._held))
        request = pb.ChunkRequest(model=self._manifest.hash, first=first, wanted=bitmaps.pack(mask, first))
        call = calls.chunk(request, self._silent_seconds)
        ask.end = call.cancel
        is_here = False
        try:
            data = await receive_chunk(
                call,
                ask,
                self._manifest.chunks,
                lambda number: self._plan.named(ask, number, now()),
                self._count,
            )
            if data is not None:
                assert ask.chunk is not None
                self._note_rate(len(data) / max(1e-6, now() - ask.named_at))
                if not await self._write(ask.chunk, data):
                    raise ProtocolError(f"chunk {ask.chunk} isn't what the manifest says")
                is_here = True
                self.good_chunks += 1
        except RefusedError as refused:
            if refused.reason == Reason.NOT_HELD:
                lost = mask & self._held
                self._held &= ~lost
                self._plan.withdrawn(lost)
            elif refused.reason == Reason.BUSY:
                return jittered(refused.retry_after_seconds or _BUSY_SECONDS, random.random)
            else:
                raise
        finally:
            call.cancel()
            if not is_here:
                self._plan.failed(ask)
        if is_here and self._plan.came(ask, now()):
            assert ask.chunk is not None
            self._came(ask.chunk)
        return 0.0

    def _count(self, received_bytes: int) -> None:
        self.received_bytes += received_bytes

    def _note_rate(self, rate: float) -> None:
        before = self._rate if self._rate is not None else rate
        self._rate = before + _SMOOTHING * (rate - before)
