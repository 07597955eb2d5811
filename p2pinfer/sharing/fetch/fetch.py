"""Brings files of a model into a store: from several peers at once, and from the model's source."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from p2pinfer.errors import P2PInferError, StoreError, SwarmError
from p2pinfer.model.layer_store.names import in_words
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.plain_text import printable, several
from p2pinfer.sharing.fetch.crew import Crew
from p2pinfer.sharing.fetch.holder import FindHolders, Holder
from p2pinfer.sharing.fetch.peer_work import SILENT_SECONDS, PeerWork
from p2pinfer.sharing.fetch.plan import Plan
from p2pinfer.sharing.fetch.progress import Progress, Rate, Summary
from p2pinfer.sharing.fetch.share import Share
from p2pinfer.sharing.files.part_file import bytes_on_disk, changed_at
from p2pinfer.sharing.files.part_files import PartFiles
from p2pinfer.sharing.files.room import check_room
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.tasks import Nursery
from p2pinfer.threads import in_thread
from p2pinfer.wire.channels import ChannelPool

Convert = Callable[[Sequence[str]], Awaitable[None]]
"""Makes files from the model's source, in their places in the store. Raises P2PInferError."""

_TICK_SECONDS = 0.25
_FIND_SECONDS = 30.0
_MOST_DAMAGES = 3  # of one file: then the disk is the cause
_SHOWN = 8
_OFFER_SECONDS = 60.0  # what peers offer counts for nothing, if nothing comes for so long
_LOOK_GROWTH = 1.5
_MOST_PATIENCE = 5  # times as long, while there are peers that weren't tried: somebody may make ever more


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """Bounds and times of a fetch."""

    peers: int = 12  # at a time: ten home uplinks fill one home downlink
    open_files: int = 64  # at a time; each has a descriptor
    look_seconds: float = 5.0  # between two looks into the swarm, at first and while nothing comes
    most_look_seconds: float = 60.0  # while files come: every look reads the records of all servers
    report_seconds: float = 0.5
    source_after_seconds: float = 5.0  # a file that no peer offers is then made from the source
    source_again_seconds: float = 30.0  # after the source has failed
    locked_seconds: float = 0.5  # between two looks at files that another process is fetching
    silent_seconds: float = SILENT_SECONDS
    stalled_seconds: float = 10.0  # without anything from anywhere, until that is told
    patience_seconds: float = 120.0  # without anything from anywhere, until the fetch fails


async def fetch_files(
    store: LayerStore,
    names: Sequence[str],
    holdings: Holdings,
    *,
    holders: FindHolders,
    pool: ChannelPool,
    report: Callable[[Progress], None],
    otherwise: Convert | None = None,
    settings: FetchSettings | None = None,
) -> Summary:
    """Fetch those of the files that the store lacks, and add them to `holdings` as they come.

    `holders` finds peers, again and again; `otherwise` converts files that no peer offers. What has come
    stays on disk if this is cancelled or fails, and isn't fetched again. Raises StoreError if the disk is
    too full or can't be written, and SwarmError if nothing has come from anywhere for a while,
    and every peer was tried.
    """
    fetch = _Fetch(store, names, holdings, pool, settings or FetchSettings())
    return await fetch.run(holders, report, otherwise)


def next_look_seconds(pause_seconds: float, has_come: bool, settings: FetchSettings) -> float:
    """How long to wait after the next look, if something has come since the last one, or not."""
    if not has_come:
        return settings.look_seconds
    return min(_LOOK_GROWTH * pause_seconds, settings.most_look_seconds)


class _Fetch:
    """One fetch. Event-loop object."""

    def __init__(
        self,
        store: LayerStore,
        names: Sequence[str],
        holdings: Holdings,
        pool: ChannelPool,
        settings: FetchSettings,
    ) -> None:
        self._store = store
        self._holdings = holdings
        self._pool = pool
        self._settings = settings
        self._share = Share(store, names)
        for name in self._share.left:
            self._share.seen(name, bytes_on_disk(store.folder, name))
        self._plan = Plan(store.manifest.chunks.total, self._share.missing_bytes_at_start)
        self._files = PartFiles(store, tuple(self._share.left))
        self._tasks = Nursery()
        self._crew = Crew(self._tasks, self._work_with, settings.peers)
        self._wake = asyncio.Event()
        self._offered_at: dict[str, float] = {}  # of open files: when a peer offered something last
        self._damages: dict[str, int] = {}
        self._locked: dict[str, float] = {}  # files of another process, and when it wrote them last
        self._working_on: set[str] = set()  # files that are opened, finished or converted just now
        self._converting: str | None = None
        self._complaints: dict[str, str] = {}  # of the swarm and the source
        self._last_event_at = time.monotonic()

    async def run(
        self, holders: FindHolders, report: Callable[[Progress], None], otherwise: Convert | None
    ) -> Summary:
        started_at, rate, reported_at = time.monotonic(), Rate(), 0.0

        def tell() -> None:
            done = self._share.done_bytes
            report(
                Progress(
                    done_bytes=done,
                    total_bytes=self._share.total_bytes,
                    bytes_per_second=rate.add(time.monotonic(), done),
                    received_by_peer=self._crew.received_by_peer,
                    converting=self._converting,
                    stalled=self._why_stalled(),
                )
            )

        if self._share.left:
            left = tuple(self._share.left)
            await in_thread(lambda: check_room(self._store, left))
            try:
                async with self._tasks as tasks:
                    tasks.start(self._look_forever(holders))
                    tasks.start(self._open_forever())
                    if otherwise is not None:
                        tasks.start(self._convert_forever(otherwise))
                    while self._share.left:
                        self._look_after(time.monotonic())
                        if time.monotonic() - reported_at >= self._settings.report_seconds:
                            reported_at = time.monotonic()
                            tell()
                        await self._sleep(_TICK_SECONDS)
            finally:
                await self._files.close()
        tell()
        received = self._crew.received_by_peer
        return Summary(
            received_bytes=sum(received.values()),
            received_by_peer=received,
            seconds=time.monotonic() - started_at,
            liars=self._crew.liars,
        )

    def _look_after(self, now: float) -> None:
        """What has to be done now and then. Raises SwarmError if there's no hope left."""
        self._crew.staff(self._share.left)
        for name in self._offered_at:
            is_kept = now - self._last_event_at < _OFFER_SECONDS
            if is_kept and self._plan.is_offered(self._store.manifest.chunks.chunks_of(name)):
                self._offered_at[name] = now
        for name, changed in self._locked.items():
            self._locked[name] = changed_at(self._store.folder, name)
            if self._locked[name] != changed:
                self._last_event_at = now
                self._share.seen(name, bytes_on_disk(self._store.folder, name))
        if any(name not in self._locked or name in self._files for name in self._working_on):
            self._last_event_at = now  # to look whether a file is still locked is no work
        seconds, patience = now - self._last_event_at, self._settings.patience_seconds
        is_hopeless = seconds > _MOST_PATIENCE * patience or not self._crew.has_untried(self._share.left)
        if seconds > patience and is_hopeless:
            raise SwarmError(
                f"{self._why_nothing_comes(seconds)}. "
                "Start again when a peer that holds them is there: what has come is kept"
            )

    async def _look_forever(self, holders: FindHolders) -> None:
        pause_seconds = self._settings.look_seconds
        while True:
            try:
                async with asyncio.timeout(_FIND_SECONDS):
                    found = await holders()
            except (P2PInferError, TimeoutError) as error:
                self._complaints["the swarm"] = printable(str(error) or "it doesn't answer")
            else:
                self._complaints.pop("the swarm", None)
                self._crew.meet(found)
            self._wake.set()
            has_come = await self._pause(pause_seconds)
            pause_seconds = next_look_seconds(pause_seconds, has_come, self._settings)

    async def _pause(self, seconds: float) -> bool:
        """Sleep, but only for a short time once nothing comes any more: then returns False."""
        ends_at = time.monotonic() + seconds
        while True:
            before = self._last_event_at
            await asyncio.sleep(min(seconds, self._settings.look_seconds))
            if self._last_event_at == before:
                return False
            if time.monotonic() >= ends_at:
                return True

    async def _open_forever(self) -> None:
        """Open file after file, as many at a time as may be open; the others' locks are tried again."""
        while True:
            for name in sorted(self._share.left):
                if name in self._files or len(self._files) >= self._settings.open_files:
                    continue
                if self._store.has(name):
                    self._done(name)
                    continue
                self._working_on.add(name)
                try:
                    await self._open(name)
                finally:
                    self._working_on.discard(name)
            await asyncio.sleep(self._settings.locked_seconds)

    async def _open(self, name: str) -> None:
        good = await self._files.open(name)
        if good is None:
            self._locked.setdefault(name, 0.0)
            return
        self._locked.pop(name, None)
        if self._store.has(name):  # whoever had the lock has just finished
            await self._files.discard(name)
            self._done(name)
            return
        self._holdings.add(good)
        self._want(name, good)

    def _want(self, name: str, good: Sequence[int]) -> None:
        """Have the missing chunks of an open file fetched."""
        self._offered_at[name] = self._last_event_at = time.monotonic()
        missing = self._share.begun(name, good)
        self._plan.need(missing)
        if not missing:
            self._begin_to_finish(name)

    def _work_with(self, holder: Holder) -> PeerWork:
        return PeerWork(
            holder,
            self._store.manifest,
            self._pool,
            self._plan,
            self._files.write,
            self._came,
            silent_seconds=self._settings.silent_seconds,
        )

    def _came(self, number: int) -> None:
        self._last_event_at = time.monotonic()
        self._holdings.add([number])
        if (name := self._share.came(number)) is not None:
            self._begin_to_finish(name)

    def _begin_to_finish(self, name: str) -> None:
        del self._offered_at[name]  # it's not to be converted any more
        self._working_on.add(name)
        self._tasks.start(self._finish(name))

    async def _finish(self, name: str) -> None:
        try:
            good = await self._files.finish(name)
        finally:
            self._working_on.discard(name)
        if good is None:
            self._done(name)
            return
        self._damages[name] = self._damages.get(name, 0) + 1
        if self._damages[name] > _MOST_DAMAGES:
            raise StoreError(
                f"{self._store.folder / name}: the disk alters what is written. Take another disk"
            )
        self._holdings.remove(set(self._store.manifest.chunks.chunks_of(name)) - set(good))
        self._want(name, good)

    def _done(self, name: str) -> None:
        self._last_event_at = time.monotonic()
        self._offered_at.pop(name, None)
        self._locked.pop(name, None)
        self._share.done(name)
        self._holdings.file_done(name)
        self._wake.set()

    async def _convert_forever(self, convert: Convert) -> None:
        """Make files from the source that no peer offers, one at a time, in an order of our own.

        Others convert as well: in another order, so that all of them can exchange what they have.
        """
        while True:
            before = time.monotonic() - self._settings.source_after_seconds
            names = [name for name, offered_at in self._offered_at.items() if offered_at <= before]
            if not names:
                await asyncio.sleep(min(1.0, self._settings.source_after_seconds / 4))
            elif not await self._convert(convert, random.choice(names)):
                await asyncio.sleep(self._settings.source_again_seconds)

    async def _convert(self, convert: Convert, name: str) -> bool:
        del self._offered_at[name]
        self._plan.drop(self._share.missing_of(name))
        self._converting = name
        self._working_on.add(name)
        try:
            await convert([name])
            if not self._store.has(name):
                raise StoreError(f"the source did not give {name}")
            await self._files.discard(name)
        except P2PInferError as error:
            self._complaints["the source"] = printable(str(error), 400)
            self._offered_at[name] = time.monotonic()
            self._plan.need(self._share.missing_of(name))
            return False
        finally:
            self._converting = None
            self._working_on.discard(name)
        self._complaints.pop("the source", None)
        self._done(name)
        return True

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _why_stalled(self) -> str | None:
        seconds = time.monotonic() - self._last_event_at
        is_stalled = self._share.left and seconds >= self._settings.stalled_seconds
        return self._why_nothing_comes(seconds) if is_stalled else None

    def _why_nothing_comes(self, seconds: float) -> str:
        asked = [*(f"{who}: {why}" for who, why in self._complaints.items()), *self._crew.complaints()]
        if self._locked:
            asked.append(
                f"another process on this machine fetches {several(len(self._locked), 'file')}, and hangs"
            )
        more = len(asked) - _SHOWN
        reasons = "; ".join(asked[:_SHOWN]) + (f"; and {several(more, 'other peer')}" if more > 0 else "")
        return (
            f"nothing has come for {seconds:.0f} s of {in_words(self._share.left)} of "
            f"{self._store.manifest.name}. Asked: {reasons or 'nobody, no peer is known'}"
        )
