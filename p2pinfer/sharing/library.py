"""The models that this machine gets from its swarm: found by name, opened by manifest, completed by files.

Files come, in this order, from this machine's folders, from peers that hold them, and from the source that
the manifest names, by byte range. Source and peers work side by side where no peer has a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from p2pinfer.command_line.progress import ProgressBar
from p2pinfer.errors import (
    ModelError,
    P2PInferError,
    StoreError,
    SwarmError,
    UnsupportedModelError,
    UnusableModelError,
)
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import CONFIG_FILE, GENERATION_CONFIG_FILE, in_words, is_small
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.plain_text import printable
from p2pinfer.sharing.disk.removal import prune
from p2pinfer.sharing.disk.shelf import fetched_folder, find
from p2pinfer.sharing.disk.use import is_shelved, using
from p2pinfer.sharing.fetch.fetch import FetchSettings, fetch_files
from p2pinfer.sharing.fetch.holder import Holder
from p2pinfer.sharing.fetch.manifests import fetch_manifest, fetch_summary
from p2pinfer.sharing.fetch.progress import Progress
from p2pinfer.sharing.fetch.small_files import fetch_into_memory
from p2pinfer.sharing.files.part_file import part_path
from p2pinfer.sharing.files.room import needed_bytes
from p2pinfer.sharing.files.whole_files import write_files, write_store
from p2pinfer.sharing.holders import ReadableSwarm, holders_of
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.naming.choice import choose_named, no_such_model
from p2pinfer.sharing.naming.known_models import KnownModel, KnownModels
from p2pinfer.sharing.naming.model_ref import SHORT_HASH_CHARACTERS, ModelRef
from p2pinfer.sharing.naming.needed import Candidate, most_needed
from p2pinfer.sharing.safety import check_manifest, check_small_files
from p2pinfer.sharing.source import StoreSource
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.tasks import all_of
from p2pinfer.threads import in_thread
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.dialling import Ways

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

REJECTED_FILE = ".rejected"
"""In the folder of a store that can't be used: why."""

MOST_MODELS = 64
"""Models whose servers are looked up before one is chosen. Anybody can list models."""

_MOST_ASKED = 256
"""Peers that are asked for a manifest, or for small files. Most that strangers announce may be silent."""
_MOST_SUMMARIES = 5
_TRIES = 3
"""To find a name, a manifest and small files: a look into a swarm of busy machines may find nobody."""


class Library:
    """One member's, while it is in the swarm. An async context manager; for the event loop."""

    def __init__(
        self,
        swarm: ReadableSwarm,
        ways: Ways | None,
        cache_folder: Path,
        *,
        say: Callable[[str], None],
        progress: Callable[[str], None] | None = None,
        budget_bytes: int | None = None,
        settings: FetchSettings | None = None,
    ) -> None:
        """`say` gets lines for the user, `progress` those of a long transfer; None: there is a bar.

        `budget_bytes` bounds the cache folder's stores; None: the disk.
        """
        self._swarm = swarm
        self._pool = ChannelPool(ways=ways)
        self._cache_folder = cache_folder
        self._say = say
        self._progress = progress
        self._budget_bytes = budget_bytes
        self._settings = settings or FetchSettings()
        self._known = KnownModels.of(cache_folder, say)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def find(self, ref: ModelRef) -> ModelListing | None:
        """The model of the swarm that a user names; None if the swarm lists none.

        Raises UsageError if several are meant, SwarmError if the swarm can't be read.
        """
        chosen = None
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(self._settings.look_seconds / 2)
            chosen = choose_named(ref, await self._swarm.models(), self._known.read())
            if chosen is not None:
                break
        if chosen is None:
            return None
        if chosen.is_warning:
            self._say(f"WARNING: {chosen.remark}")
        elif chosen.remark:
            self._say(chosen.remark)
        return chosen.listing

    async def no_such_model(self, ref: ModelRef) -> str:
        """What to tell a user whose name fits none of the swarm's models. Raises SwarmError."""
        return no_such_model(ref, await self._swarm.models())

    async def ranked(self) -> list[Candidate]:
        """The models of the swarm, the one that needs a server most first, without rejected ones.

        Raises SwarmError.
        """
        listings, known = await self._swarm.models(), self._known.read()
        hashes = {model.hash for model in known.values()}
        if len(listings) > MOST_MODELS:
            mine = [one for one in listings if one.model in hashes]
            others = [one for one in listings if one not in mine]
            listings = [*mine[:MOST_MODELS], *random.sample(others, min(len(others), MOST_MODELS))]
        candidates = await all_of(*(self._candidate(listing, known) for listing in listings))
        return most_needed([one for one in candidates if one is not None], self._swarm.peer_id)

    async def open(self, listing: ModelListing, *, with_tokenizer: bool = False) -> LayerStore:
        """The store of a model of the swarm, of which only the description is here.

        With the tokenizer, all its small files are here. Raises SwarmError if no peer gives them, ModelError
        if they are not those of a model that can be run here, StoreError if the disk is full.
        """
        folder = await in_thread(partial(find, self._cache_folder, listing.model))
        if folder is None:
            folder = await self._begun(listing.model)
        try:
            store = await in_thread(partial(LayerStore.open, folder))
        except StoreError:  # its config was altered
            if not is_shelved(self._cache_folder, folder):
                raise
            self._say(f"{folder / CONFIG_FILE} was altered on this disk: it is fetched again")
            store = await in_thread(partial(LayerStore.open, await self._begun(listing.model, folder)))
        if with_tokenizer:
            with self.using(store):
                await self.complete_description(store)
        if store.manifest.name != listing.model_name:
            self._say(
                f"its manifest calls this model {printable(store.manifest.name)}, and the swarm lists it as "
                f"{printable(listing.model_name)}"
            )
        return store

    def remember(self, listing: ModelListing) -> None:
        """Note that a name stands for this hash here: of a model that could be used."""
        self._known.remember(listing.model_name, listing.model, at=time.time())

    @asynccontextmanager
    async def on_trial(self, model: str) -> AsyncIterator[None]:
        """If the block finds that a model can't be used, never choose it again unless its user names it."""
        try:
            yield
        except (UnusableModelError, UnsupportedModelError) as error:
            folder = fetched_folder(self._cache_folder, model)
            with contextlib.suppress(StoreError):
                await in_thread(partial(write_files, folder, {REJECTED_FILE: str(error).encode()[:1000]}))
            raise

    async def complete_description(self, store: LayerStore) -> None:
        """Get the small files that a store lacks: tokenizer and defaults. Raises as `open` does."""
        small = [name for name in sorted(store.manifest.files) if is_small(name)]
        if is_shelved(self._cache_folder, store.folder):
            missing = await in_thread(lambda: [name for name in small if not _is_good(store, name)])
        else:  # a user's own store, in which files may have been edited
            missing = [name for name in small if not (store.folder / name).exists()]
        if missing:
            files = await self._small_files(store.manifest, missing)
            await in_thread(partial(write_files, store.folder, files))

    @contextmanager
    def using(self, store: LayerStore) -> Iterator[None]:
        """Keep a store in the cache folder from being removed for as long as the block lasts."""
        with using(self._cache_folder, store.folder):
            yield

    async def fetch(
        self, store: LayerStore, names: Sequence[str], holdings: Holdings, *, makes_room: bool = True
    ) -> None:
        """Get those of the files that the store lacks, and note in `holdings` what has come.

        With `makes_room`, other models may be removed from the cache folder for it. What has come stays if
        this is cancelled or fails. Raises SwarmError, ModelError, StoreError.
        """
        missing = store.missing(names)
        if not missing:
            return
        manifest = store.manifest
        if not self.may_remove(store):
            for name in missing:
                if (store.folder / name).exists():  # a user's own file is never replaced
                    raise StoreError(f"{store.folder / name} was altered: move it away, or convert again")
        if makes_room and store.folder.is_relative_to(self._cache_folder):
            needed = await in_thread(partial(needed_bytes, store, missing))
            await self._make_room(needed, keep=manifest.hash)
        source = StoreSource(store, self._say)
        what = f"fetching {in_words(missing)} of {manifest.name}"
        bar = ProgressBar(what, speak=self._progress)
        was_stalled = False

        def report(progress: Progress) -> None:
            nonlocal was_stalled
            making = progress.converting and f"converting {in_words([progress.converting])}"
            bar.update(progress.done_bytes, progress.total_bytes, making or "")
            if progress.stalled is not None and not was_stalled:
                self._say(f"{progress.stalled}. Waiting for a peer that gives them; what has come is kept")
            was_stalled = progress.stalled is not None

        try:
            summary = await fetch_files(
                store,
                missing,
                holdings,
                holders=partial(holders_of, self._swarm, manifest.hash, manifest),
                pool=self._pool,
                report=report,
                otherwise=source.convert if source.exists else None,
                settings=self._settings,
            )
        finally:
            bar.close()
        logger.info(
            "fetched files=%d bytes=%d peers=%d seconds=%.1f",
            len(missing),
            summary.received_bytes,
            len(summary.received_by_peer),
            summary.seconds,
        )

    def may_remove(self, store: LayerStore) -> bool:
        """True if the store lies in the cache folder: its files aren't a user's own."""
        return is_shelved(self._cache_folder, store.folder)

    async def repair(self, store: LayerStore, names: Sequence[str], holdings: Holdings) -> bool:
        """Fetch those of the files again that were altered on this disk: only their wrong chunks come.

        False if none was, or if the store isn't one of the cache folder: then it is its owner's to mend.
        Raises as `fetch` does.
        """
        if not self.may_remove(store):
            return False
        damaged = await in_thread(lambda: [name for name in names if not store.is_intact(name)])
        for name in damaged:
            self._say(f"{store.folder / name} was altered on this disk: it is fetched again")
            holdings.drop_file(name)
            with contextlib.suppress(FileNotFoundError):
                await in_thread(partial(os.replace, store.folder / name, part_path(store.folder, name)))
        await self.fetch(store, damaged, holdings)
        return bool(damaged)

    async def origins_of(self, listings: Iterable[ModelListing]) -> Mapping[str, Origin]:
        """Where some models come from, by hash, as their servers say: for people. Not of all, if any."""

        async def origin_of(listing: ModelListing) -> Origin | None:
            with contextlib.suppress(P2PInferError, TimeoutError):
                for holder in (await self._holders(listing.model))[:1]:
                    return (await fetch_summary(holder, self._pool, listing.model)).origin
            return None

        asked = list(listings)[:_MOST_SUMMARIES]
        found = await all_of(*map(origin_of, asked))
        return {one.model: origin for one, origin in zip(asked, found, strict=True) if origin is not None}

    async def _candidate(self, listing: ModelListing, known: Mapping[str, KnownModel]) -> Candidate | None:
        """None for a model that was rejected here."""
        if (fetched_folder(self._cache_folder, listing.model) / REJECTED_FILE).exists():
            model = _named(listing.model_name, listing.model)
            self._say(f"{model} couldn't be used here before: it is left out")
            return None
        servers = await self._swarm.servers(listing.model)
        before = known.get(listing.model_name)
        is_known = before is not None and before.hash == listing.model
        folder = await in_thread(partial(find, self._cache_folder, listing.model)) if is_known else None
        return Candidate(
            listing=listing,
            servers=[server for server in servers if server.peer_id != self._swarm.peer_id],
            has_files=folder is not None,
            is_known=is_known,
        )

    async def _holders(
        self, model: str, manifest: Manifest | None = None, names: Sequence[str] = ()
    ) -> list[Holder]:
        """Some of the servers of a model, with a manifest those that may hold one of the files.

        They are in an order of our own: not everybody asks the same first.
        """
        holders = await holders_of(self._swarm, model, manifest)
        if manifest is not None:
            holders = [holder for holder in holders if holder.may_help(names)]
        return random.sample(holders, min(len(holders), _MOST_ASKED))

    async def _begun(self, model: str, folder: Path | None = None) -> Path:
        """A store with manifest and config from peers, in a folder of its own or in one that is there."""

        async def from_peers() -> Manifest:
            return await fetch_manifest(model, await self._holders(model), self._pool)

        manifest = await self._tried(from_peers)
        check_manifest(manifest)
        files = await self._small_files(manifest, (CONFIG_FILE,))
        await self._make_room(sum(map(len, files.values())), keep=manifest.hash)
        folder = folder or fetched_folder(self._cache_folder, manifest.hash)
        await in_thread(partial(write_store, folder, manifest, files))
        return folder

    async def _small_files(self, manifest: Manifest, names: Sequence[str]) -> dict[str, bytes]:
        """Config or tokenizer, from peers or else from the source, looked at before anything is written."""

        async def from_peers() -> dict[str, bytes]:
            holders = await self._holders(manifest.hash, manifest, names)
            return await fetch_into_memory(manifest, names, holders, self._pool)

        try:
            files = await self._tried(from_peers)
        except SwarmError as error:
            if manifest.origin.hub_id is None:
                raise
            files = await self._small_files_from_source(manifest, names, error)
        check_small_files(manifest, files)
        return files

    async def _small_files_from_source(
        self, manifest: Manifest, names: Sequence[str], why: SwarmError
    ) -> dict[str, bytes]:
        """Read them from the hub into a folder that is removed again. Raises SwarmError: both reasons."""
        with tempfile.TemporaryDirectory(prefix="p2pinfer-") as folder:
            store = LayerStore(Path(folder), manifest, {})
            try:
                await StoreSource(store, self._say).convert(names)
                return {name: (store.folder / name).read_bytes() for name in names}
            except (ModelError, OSError) as error:
                raise SwarmError(f"{why}. From its source: {error}") from error

    async def _tried(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Try what peers may fail to give, and give now that it is asked for again. Raises SwarmError."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(SwarmError):
                return await work()
            await asyncio.sleep(self._settings.look_seconds / 2)
        return await work()

    async def _make_room(self, needed_bytes: int, *, keep: str) -> None:
        removed = await in_thread(
            partial(
                prune,
                self._cache_folder,
                needed_bytes=needed_bytes,
                budget_bytes=self._budget_bytes,
                keep={keep},
            )
        )
        for store in removed:
            model = _named(store.name, store.hash)
            self._say(f"removed {model} from {self._cache_folder}: room was needed")


def _named(name: str, model: str) -> str:
    """A model by its name, which a stranger chose, and the first digits of its hash."""
    return f"{printable(name)} ({model[:SHORT_HASH_CHARACTERS]})"


def _is_good(store: LayerStore, name: str) -> bool:
    """True if a small file needn't be fetched. The defaults of `generate` are for users to edit."""
    return store.is_intact(name) or (name == GENERATION_CONFIG_FILE and (store.folder / name).exists())
