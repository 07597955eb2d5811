"""The files that a client needs of a model: configs, tokenizer and ends. No layer is ever fetched here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from p2pinfer.client.network import Network
from p2pinfer.command_line.output import complain
from p2pinfer.errors import StoreError, SwarmError, UsageError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.formats.lookup import is_local
from p2pinfer.model.layer_store.names import ENDS_FILE
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import is_here, open_model
from p2pinfer.sharing.disk.use import using
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.library import Library
from p2pinfer.sharing.naming.model_ref import ModelRef

Say = Callable[[str], None]


def open_local(model: str, cache_folder: Path, progress: Say | None) -> LayerStore | None:
    """A model on this machine, converted first if need be; None for a name. Raises ModelError."""
    if not is_local(model):
        return None
    return open_model(model, cache_folder=cache_folder, progress=progress or _say_nothing)


def open_named(model: str, network: Network, cache_folder: Path, progress: Say | None) -> LayerStore:
    """A model that the swarm serves by this name, from its servers; else one that this computer has.

    Blocks until all files that a client needs are here. What nobody serves is not converted here: without
    servers it would be of no use. Raises UsageError, ModelError and SwarmError.
    """
    ref = ModelRef.parse(model)
    found = network.run(_from_swarm(ref, network, cache_folder, progress))
    if isinstance(found, LayerStore):
        return found
    if ref.hash_prefix is not None:
        raise UsageError(found)
    if is_here(model, cache_folder):
        return open_model(model, cache_folder=cache_folder, progress=progress or _say_nothing)
    raise SwarmError(found)


def complete(store: LayerStore, network: Network, cache_folder: Path, progress: Say | None) -> None:
    """Fetch what a client needs and a store lacks, because it is a partial one. Raises as `open_named`."""
    if store.missing(store.manifest.end_files):
        network.run(_completed(store, _library(network, cache_folder, progress)))


def load_ends(store: LayerStore, network: Network, cache_folder: Path, progress: Say | None) -> ClientEnds:
    """The ends of a store; if they were altered on this disk, they are fetched again.

    Raises StoreError if that can't be done, and as `open_named`.
    """
    try:
        return ClientEnds.load(store)
    except StoreError:
        if not network.run(_repaired(store, _library(network, cache_folder, progress))):
            raise
        return ClientEnds.load(store)


def kept(store: LayerStore, cache_folder: Path) -> AbstractContextManager[None]:
    """Keep others from removing the store for as long as the block lasts."""
    return using(cache_folder, store.folder)


async def _from_swarm(
    ref: ModelRef, network: Network, cache_folder: Path, progress: Say | None
) -> LayerStore | str:
    """The store; or, if the swarm doesn't serve the model, words that say so."""
    library = _library(network, cache_folder, progress)
    async with library:
        listing = await library.find(ref)
        if listing is None:
            return await library.no_such_model(ref)
        async with library.on_trial(listing.model):
            store = await library.open(listing, with_tokenizer=True)
            with library.using(store):
                await library.fetch(store, (ENDS_FILE,), Holdings(store))
        library.remember(listing)
        return store


async def _completed(store: LayerStore, library: Library) -> None:
    async with library:
        await library.complete_description(store)
        await library.fetch(store, (ENDS_FILE,), Holdings(store))


async def _repaired(store: LayerStore, library: Library) -> bool:
    async with library:
        return await library.repair(store, (ENDS_FILE,), Holdings(store))


def _library(network: Network, cache_folder: Path, progress: Say | None) -> Library:
    return Library(
        network.swarm,
        network.ways,
        cache_folder,
        say=progress or complain,
        progress=None if progress is None and _has_terminal() else progress or _say_nothing,
    )


def _has_terminal() -> bool:
    """A program that calls this library may use its output for its own purposes."""
    return sys.stdout is not None and sys.stdout.isatty()


def _say_nothing(line: str) -> None:
    pass
