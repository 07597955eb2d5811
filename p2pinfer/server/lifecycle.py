"""A server's life: open the model, join, take layers, serve, leave."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from functools import partial

from p2pinfer import __version__
from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Engine
from p2pinfer.model.manifest import layer_file
from p2pinfer.model.source import open_model
from p2pinfer.model.store import LayerStore
from p2pinfer.server.admission import Load
from p2pinfer.server.batcher import Batcher
from p2pinfer.server.budget import default_cache_tokens, default_num_layers
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.handler import Handler
from p2pinfer.server.listening import listening
from p2pinfer.server.machine import available_memory_bytes, in_thread, owned_identity
from p2pinfer.server.placement import choose_span
from p2pinfer.server.sessions import SessionTable
from p2pinfer.server.speed import measure_speed
from p2pinfer.swarm.announcement import Announcement, ServerState
from p2pinfer.swarm.dht import Swarm
from p2pinfer.swarm.tunnel import dial
from p2pinfer.swarm.view import coverage
from p2pinfer.types import Span, short_id
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.status import Reason, Refused

logger = logging.getLogger(__name__)

Say = Callable[[str], None]


async def serve(config: ServerConfig, *, ready: asyncio.Event, stopping: asyncio.Event, say: Say) -> None:
    """Run one server until `stopping` is set; `say` prints a line for the owner.

    `ready` is set once the server is announced.
    Raises P2PInferError with what the owner can do about it if it can't start.
    """
    with owned_identity(config.identity, config.data_folder) as identity:
        opening = asyncio.ensure_future(
            in_thread(partial(open_model, config.model, cache_folder=config.cache_folder, progress=say))
        )
        try:
            async with Swarm.join(config.initial_peers, identity, listen_maddrs=config.dht_listen) as swarm:
                if not config.initial_peers:
                    say(f"join this swarm: --initial-peers {' '.join(swarm.addresses)}")
                store = await opening
                await _serve_model(config, swarm, store, ready, stopping, say)
        finally:
            opening.cancel()


async def _serve_model(
    config: ServerConfig,
    swarm: Swarm,
    store: LayerStore,
    ready: asyncio.Event,
    stopping: asyncio.Event,
    say: Say,
) -> None:
    manifest = store.manifest
    layers = await _choose_layers(config, swarm, store)
    say(
        f"model {manifest.name}: {manifest.num_layers} layers, manifest {manifest.hash[:12]}; taking {layers}"
    )
    announcement = Announcement(
        peer_id=swarm.peer_id,
        model=manifest.hash,
        model_name=manifest.name,
        num_layers=manifest.num_layers,
        layers=layers,
        state=ServerState.JOINING,
        numerics="pending",  # known once the engine is loaded
        endpoints=(),
        certificate=b"",
        decode_seconds_per_layer=0.0,
        prefill_tokens_per_second=0.0,
        queue_depth=0,
        free_cache_tokens=0,
        next_hop_seconds={},
        leaves_at=None,
        version=__version__,
        public_name=config.public_name,
        announced_at=time.time(),
        expires_at=time.time() + config.record_seconds,
    )
    await swarm.announce(announcement)  # so that others who join now choose other layers
    engine = await in_thread(partial(_load, config, store, layers))
    cache_tokens = _cache_tokens(config, engine)
    speed = await in_thread(partial(measure_speed, engine))

    with Batcher(engine, asyncio.get_running_loop()) as batcher:
        batcher.decode_seconds_per_layer = speed.decode_seconds_per_layer
        batcher.prefill_tokens_per_second = speed.prefill_tokens_per_second
        sessions = SessionTable(engine, batcher, cache_tokens=cache_tokens, idle_seconds=config.idle_seconds)
        pool = ChannelPool(tunnel=partial(dial, swarm))

        def load() -> Load:
            return Load(
                peer_id=swarm.peer_id,
                model=manifest.hash,
                numerics=engine.numerics,
                layers=layers,
                max_positions=manifest.max_positions,
                cache_tokens=cache_tokens,
                free_cache_tokens=sessions.free_cache_tokens,
                draining=stopping.is_set(),
            )

        handler = Handler(sessions, batcher, pool, load)
        try:
            async with listening(config.listen, config.announce, handler, swarm) as reachable:

                def describe() -> Announcement:
                    now = time.time()
                    return dataclasses.replace(
                        announcement,
                        state=ServerState.SERVING,
                        numerics=engine.numerics,
                        endpoints=reachable.endpoints,
                        certificate=reachable.certificate.der,
                        decode_seconds_per_layer=batcher.decode_seconds_per_layer,
                        prefill_tokens_per_second=batcher.prefill_tokens_per_second,
                        queue_depth=batcher.queue_depth,
                        free_cache_tokens=sessions.free_cache_tokens,
                        announced_at=now,
                        expires_at=now + config.record_seconds,
                    )

                await swarm.announce(describe())
                say(
                    f"ready: layers {layers} of {manifest.num_layers}, peer {short_id(swarm.peer_id)}, "
                    f"{engine.numerics}, {engine.weight_bytes / 1e6:.0f} MB of weights, "
                    f"{cache_tokens} cache tokens"
                )
                ready.set()
                await _until_stopped(config, swarm, sessions, describe, stopping)
                say(f"leaving: {len(sessions)} sessions are told")
                await swarm.withdraw(describe())
                sessions.end_all(Refused(Reason.LEAVING, "the server is leaving: move to another"))
        finally:
            await pool.close()


async def _choose_layers(config: ServerConfig, swarm: Swarm, store: LayerStore) -> Span:
    manifest = store.manifest
    whole = Span(0, manifest.num_layers)
    if config.layers is not None:
        if not config.layers.within(whole):
            raise UsageError(f"--layers {config.layers}: {manifest.name} has layers {whole}")
        return config.layers
    number = config.num_layers or default_num_layers(
        largest_layer_bytes=max(
            manifest.files[layer_file(layer)].bytes for layer in range(manifest.num_layers)
        ),
        free_bytes=available_memory_bytes(),
        num_layers=manifest.num_layers,
    )
    servers = await swarm.servers(manifest.hash)
    return choose_span(coverage(servers, manifest.num_layers), min(number, manifest.num_layers))


def _load(config: ServerConfig, store: LayerStore, layers: Span) -> Engine:
    return load_engine(
        store,
        layers,
        device=config.device,
        threads=config.threads,
        engine=config.engine,
        max_cache_tokens=config.max_cache_tokens,
    )


def _cache_tokens(config: ServerConfig, engine: Engine) -> int:
    if config.max_cache_tokens is not None:
        return config.max_cache_tokens
    return default_cache_tokens(
        bytes_per_token=engine.cache_bytes_per_token, free_bytes=available_memory_bytes()
    )


async def _until_stopped(
    config: ServerConfig,
    swarm: Swarm,
    sessions: SessionTable,
    describe: Callable[[], Announcement],
    stopping: asyncio.Event,
) -> None:
    """Announce and expire until told to stop. A failing background task ends the server loudly."""

    async def announce_forever() -> None:
        while True:
            await asyncio.sleep(config.heartbeat_seconds)
            try:
                await swarm.announce(describe())
            except SwarmError as error:  # the next heartbeat tries again; the record lives for four
                logger.warning("announcing failed: %s", error)

    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(announce_forever()),
            tasks.create_task(sessions.expire_forever()),
        ]
        await stopping.wait()
        for task in background:
            task.cancel()
