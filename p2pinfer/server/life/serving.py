"""A serving period: open the model, join the swarm, take layers, serve, leave. Nothing of it is left over."""

from __future__ import annotations

import asyncio
import time

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life.claim import claimed, joining_record
from p2pinfer.server.life.company import alone_with
from p2pinfer.server.life.layer_choice import choose_layers
from p2pinfer.server.life.model_loading import load_layers, open_store
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.life.span_service import LoadedSpan, SpanService
from p2pinfer.server.sessions.accounts import Accounts, ReceiptKeeper
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import ending


async def serve_period(
    config: ServerConfig, identity: Identity, book: ReceiptKeeper, period: ServingPeriod
) -> None:
    """Serve until `period` says that it ends. If cancelled, it cleans up as well.

    Raises P2PInferError, with what the owner can do about it, if the server can't begin or go on.
    """
    async with (
        ending(asyncio.create_task(open_store(config, period.say))) as opening,
        Swarm.join(
            config.initial_peers,
            identity,
            listen_maddrs=config.dht_listen,
            announce_maddrs=config.announced_maddrs,
            remembered=period.remembered,
        ) as swarm,
    ):
        if not config.initial_peers:
            period.say(f"join this swarm: --initial-peers {' '.join(swarm.addresses)}")
        store = await opening
        accounts = Accounts(identity, book, receipt_tokens=config.receipt_tokens)
        try:
            await _serve_model(config, swarm, store, accounts, period)
        finally:
            accounts.retire(everybody=True)
            period.remembered = swarm.remembered


async def _company(swarm: Swarm, manifest: Manifest) -> str | None:
    try:
        servers, models = await swarm.servers(manifest.hash), await swarm.models()
    except SwarmError:
        return None  # a remark isn't worth a start; announcing tries again
    return alone_with(manifest, swarm.peer_id, servers, models)


async def _serve_model(
    config: ServerConfig, swarm: Swarm, store: LayerStore, accounts: Accounts, period: ServingPeriod
) -> None:
    manifest = store.manifest
    if config.num_layers is not None and config.num_layers > manifest.num_layers:
        period.say(
            f"--num-layers {config.num_layers}: {manifest.name} has {manifest.num_layers} layers, and this "
            "server takes all of them"
        )
    layers = await choose_layers(config, swarm, store)
    period.say(f"model {manifest.name}: {manifest.num_layers} layers, manifest {manifest.hash[:12]}")
    if (words := await _company(swarm, manifest)) is not None:
        period.say(words)
    claim = joining_record(config, swarm.peer_id, manifest, layers, now=time.time())
    async with claimed(swarm, claim):
        engine, speed = await load_layers(config, store, layers, period.say)
        span = LoadedSpan(manifest=manifest, claim=claim, engine=engine, speed=speed)
        await SpanService(config, swarm, span, accounts, period).run()
