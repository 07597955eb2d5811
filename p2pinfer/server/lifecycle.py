"""A server's life: open the model, join, take layers, serve, leave."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2pinfer import __version__
from p2pinfer.errors import UsageError
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Engine
from p2pinfer.model.manifest import Manifest
from p2pinfer.model.source import open_model
from p2pinfer.model.store import LayerStore
from p2pinfer.server.admission import Load
from p2pinfer.server.announcing import Heartbeats, announce_first, withdraw
from p2pinfer.server.batcher import Batcher
from p2pinfer.server.budget import default_cache_tokens, default_num_layers, history_bytes_per_token
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.draining import counted, drain
from p2pinfer.server.handler import Handler
from p2pinfer.server.listening import listening
from p2pinfer.server.machine import available_memory_bytes, in_thread, owned_identity
from p2pinfer.server.placement import choose_span
from p2pinfer.server.runner import Runner
from p2pinfer.server.sessions import SessionTable
from p2pinfer.server.speed import Speed, measure_speed
from p2pinfer.swarm.announcement import Announcement, ServerState
from p2pinfer.swarm.dht import Swarm
from p2pinfer.swarm.tunnel import dial
from p2pinfer.swarm.view import coverage
from p2pinfer.types import Span, short_id
from p2pinfer.wire.status import Reason, Refused


@dataclass(frozen=True, slots=True)
class Controls:
    """How the program that runs a server and the server talk to each other."""

    say: Callable[[str], None]  # prints a line for the owner
    ready: asyncio.Event  # set by the server once it is announced
    stopping: asyncio.Event  # set by the program: take no new sessions, let those there are move, and leave
    leaving: asyncio.Event  # set by the program: leave now

    def urge(self) -> bool:
        """The owner asks (again) that the server ends. False: it has been asked all that it can be asked."""
        for event in (self.stopping, self.leaving):
            if self.ready.is_set() and not event.is_set():
                event.set()
                return True
        return False


async def serve(config: ServerConfig, controls: Controls) -> None:
    """Run one server until it is told to stop.

    Raises P2PInferError with what the owner can do about it if it can't start or go on.
    """
    with owned_identity(config.identity, config.data_folder) as identity:
        opening = asyncio.ensure_future(
            in_thread(
                partial(open_model, config.model, cache_folder=config.cache_folder, progress=controls.say)
            )
        )
        try:
            async with Swarm.join(
                config.initial_peers,
                identity,
                listen_maddrs=config.dht_listen,
                announce_maddrs=config.announced_maddrs,
            ) as swarm:
                if not config.initial_peers:
                    controls.say(f"join this swarm: --initial-peers {' '.join(swarm.addresses)}")
                store = await opening
                await _serve_model(config, swarm, store, controls)
        finally:
            opening.cancel()


async def _serve_model(config: ServerConfig, swarm: Swarm, store: LayerStore, controls: Controls) -> None:
    """Claim layers, load them, serve; the claim is withdrawn however it ends."""
    manifest = store.manifest
    layers = await _choose_layers(config, swarm, store)
    controls.say(f"model {manifest.name}: {manifest.num_layers} layers, manifest {manifest.hash[:12]}")
    claim = _claim(config, swarm, store, layers)
    await announce_first(swarm, lambda: claim)  # so that others who join now choose other layers
    try:
        engine = await in_thread(partial(_load, config, store, layers))
        speed = await in_thread(partial(measure_speed, engine))
        await _serve_sessions(config, swarm, store.manifest, claim, engine, speed, controls)
    except BaseException:
        await withdraw(swarm, claim)
        raise


async def _serve_sessions(
    config: ServerConfig,
    swarm: Swarm,
    manifest: Manifest,
    claim: Announcement,
    engine: Engine,
    speed: Speed,
    controls: Controls,
) -> None:
    """Listen, announce, serve until told to stop, let the sessions move, tell those that are left."""
    sessions = SessionTable(
        engine, cache_tokens=_cache_tokens(config, engine), idle_seconds=config.idle_seconds
    )
    batcher = Batcher(engine, speed)

    def load() -> Load:
        return Load(
            peer_id=swarm.peer_id,
            model=manifest.hash,
            numerics=engine.numerics,
            layers=claim.layers,
            max_positions=manifest.max_positions,
            cache_tokens=sessions.cache_tokens,
            free_cache_tokens=sessions.free_cache_tokens,
            sessions=len(sessions),
            draining=controls.stopping.is_set(),
        )

    with Runner(batcher, sessions.find, asyncio.get_running_loop()) as runner:
        handler = Handler(sessions, runner, load, tunnel=partial(dial, swarm))
        async with listening(config.listen, config.announce, handler, runner, swarm) as reachable:
            leaves_at: float | None = None  # Unix seconds

            def describe() -> Announcement:
                now = time.time()
                return dataclasses.replace(
                    claim,
                    state=ServerState.SERVING if leaves_at is None else ServerState.DRAINING,
                    leaves_at=leaves_at,
                    numerics=engine.numerics,
                    endpoints=reachable.endpoints,
                    certificate=reachable.certificate.der,
                    decode_seconds_per_layer=batcher.decode_seconds_per_layer,
                    prefill_tokens_per_second=batcher.prefill_tokens_per_second,
                    queue_depth=runner.queue_depth,
                    free_cache_tokens=sessions.free_cache_tokens,
                    announced_at=now,
                    expires_at=now + config.record_seconds,
                )

            await announce_first(swarm, describe)
            controls.say(
                f"ready: layers {claim.layers} of {manifest.num_layers}, peer {short_id(swarm.peer_id)}, "
                f"{engine.numerics}, {engine.weight_bytes / 1e6:.0f} MB of weights, "
                f"{sessions.cache_tokens} cache tokens"
            )
            controls.ready.set()
            heartbeats = Heartbeats(swarm, describe, config.heartbeat_seconds)

            async def until_drained() -> None:
                nonlocal leaves_at
                await controls.stopping.wait()
                leaves_at = time.time() + config.drain_seconds
                if len(sessions):  # else the next announcement withdraws it
                    heartbeats.hasten()
                await drain(sessions, config.drain_seconds, controls.leaving, controls.say)

            await _first_of(
                until_drained(),
                heartbeats.beat_forever(),
                heartbeats.hasten_after_rejoining(),
                sessions.expire_forever(),
                runner.wait_failed(),
            )
            controls.say(f"leaving: {counted(len(sessions), 'session is told', 'sessions are told')}")
            await withdraw(swarm, describe())  # first, so that nobody is sent here again
            sessions.end_all(Refused(Reason.LEAVING, "the server is leaving: move to another"))


def _claim(config: ServerConfig, swarm: Swarm, store: LayerStore, layers: Span) -> Announcement:
    """The record of a server that is still loading: it counts for placement, not for routes."""
    now = time.time()
    return Announcement(
        peer_id=swarm.peer_id,
        model=store.manifest.hash,
        model_name=store.manifest.name,
        num_layers=store.manifest.num_layers,
        layers=layers,
        state=ServerState.JOINING,
        numerics="pending",
        version=__version__,
        public_name=config.public_name,
        announced_at=now,
        expires_at=now + config.record_seconds,
    )


async def _choose_layers(config: ServerConfig, swarm: Swarm, store: LayerStore) -> Span:
    manifest = store.manifest
    whole = Span(0, manifest.num_layers)
    if config.layers is not None:
        if not config.layers.within(whole):
            raise UsageError(f"--layers {config.layers}: {manifest.name} has layers {whole}")
        return config.layers
    number = config.num_layers or default_num_layers(
        largest_layer_bytes=max(
            store.layer_bytes(Span(layer, layer + 1)) for layer in range(manifest.num_layers)
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
        bytes_per_token=engine.cache_bytes_per_token + history_bytes_per_token(engine.hidden_size),
        free_bytes=available_memory_bytes(),
    )


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Do all of it until one ends, for the others never do; raises what it raises."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
