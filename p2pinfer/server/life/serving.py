"""A serving period: open the model, join the swarm, take layers, serve, leave. Nothing of it is left over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.price.paying import pay
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.layers.layer_choice import choosing
from p2pinfer.server.life.company import alone_with
from p2pinfer.server.life.layer_service import LayerService
from p2pinfer.server.life.model_choice import ModelChoice
from p2pinfer.server.life.model_loading import open_store
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.sessions.accounts import Accounts, ReceiptKeeper
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.library import Library
from p2pinfer.swarm.membership.kept_peers import FILE_NAME, KeptPeers
from p2pinfer.swarm.remembering import join_remembering
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import ending


async def serve_period(
    config: ServerConfig, identity: Identity, book: ReceiptKeeper, period: ServingPeriod
) -> None:
    """Serve until `period` says that it ends. If cancelled, it cleans up as well.

    Raises P2PInferError, with what the owner can do about it, if the server can't begin or go on.
    """
    with identity.in_use():  # another server may have it: that is said before anything is computed
        await pay(identity, period.say, threads=config.threads)
    choice = ModelChoice(config, period.chosen, period.say)
    async with (
        _opening(config, choice.local, period) as opening,
        join_remembering(
            KeptPeers(config.data_folder / FILE_NAME),
            config.initial_peers,
            identity,
            listen_maddrs=config.dht_listen,
            announce_maddrs=config.announced_maddrs,
            remembered=period.remembered,
            allowance=period.relay_allowance,
        ) as swarm,
        Library(
            swarm,
            swarm.ways,
            config.cache_folder,
            say=period.say,
            budget_bytes=None if config.disk_gb is None else int(config.disk_gb * 1e9),
        ) as library,
    ):
        if not config.initial_peers:
            period.say(f"join this swarm: --initial-peers {' '.join(swarm.addresses)}")
        accounts = Accounts(identity, book, receipt_tokens=config.receipt_tokens)
        await accounts.remember()
        try:
            store = await choice.open(library, opening)
            async with library.on_trial(store.manifest.hash):
                with library.using(store):
                    await _serve_model(config, swarm, library, store, accounts, period)
        finally:
            accounts.retire(everybody=True)
            period.remembered = swarm.remembered


@asynccontextmanager
async def _opening(
    config: ServerConfig, local: str | None, period: ServingPeriod
) -> AsyncIterator[asyncio.Future[LayerStore] | None]:
    """Open a local model beside joining the swarm: both take seconds."""
    if local is None:
        yield None
        return
    async with ending(asyncio.create_task(open_store(config, local, period.say))) as opening:
        yield opening


async def _company(swarm: Swarm, library: Library, manifest: Manifest) -> str | None:
    try:
        servers, models = await swarm.servers(manifest.hash), await swarm.models()
        if any(server.peer_id != swarm.peer_id for server in servers):
            return None
        origins = await library.origins_of([model for model in models if model.model != manifest.hash])
    except SwarmError:
        return None  # a remark isn't worth a start; announcing tries again
    return alone_with(manifest, swarm.peer_id, servers, models, origins)


async def _serve_model(
    config: ServerConfig,
    swarm: Swarm,
    library: Library,
    store: LayerStore,
    accounts: Accounts,
    period: ServingPeriod,
) -> None:
    manifest = store.manifest
    if config.num_layers is not None and config.num_layers > manifest.num_layers:
        period.say(
            f"--num-layers {config.num_layers}: {manifest.name} has {manifest.num_layers} layers, and this "
            "server takes all of them"
        )
    async with choosing(config, swarm, store, period.ends_at()) as choice:
        period.say(f"model {manifest.name}: {manifest.num_layers} layers, manifest {manifest.hash}")
        if (words := await _company(swarm, library, manifest)) is not None:
            period.say(words)
        with contextlib.closing(Holdings(store)) as holdings:
            service = LayerService(
                config=config,
                swarm=swarm,
                library=library,
                store=store,
                holdings=holdings,
                choice=choice,
                accounts=accounts,
                period=period,
            )
            await service.run()
