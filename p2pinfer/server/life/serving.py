"""One stay in the swarm: open the model, join, take layers, serve, leave; nothing of it is left."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from p2pinfer import __version__
from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Engine
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.budget import default_cache_tokens, default_num_layers, history_bytes_per_token
from p2pinfer.server.compute.speed import Speed, measure_speed
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.door.admission import Load
from p2pinfer.server.door.handler import Handler
from p2pinfer.server.door.listeners import listening
from p2pinfer.server.life.announcing import Heartbeats, announce_first, withdraw
from p2pinfer.server.life.draining import SETTLE_SECONDS, counted, drain
from p2pinfer.server.life.machine import available_memory_bytes, in_thread
from p2pinfer.server.placement import choose_span
from p2pinfer.server.sessions.accounts import Accounts, Book
from p2pinfer.server.sessions.session_steps import Runner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.swarm.census import coverage
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel import dial
from p2pinfer.tasks import first_of
from p2pinfer.types import Span, short_id
from p2pinfer.wire.status import Reason, Refused


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server that is ready can be asked, and told, by those who attend to it."""

    swarm: Swarm
    layers: Span
    model_name: str
    sessions: SessionTable
    runner: Runner
    hasten: Callable[[], None]  # announces what has changed at once


@dataclass(slots=True, kw_only=True)
class Controls:
    """How a stay, and whoever wants it to begin and end, talk to each other."""

    say: Callable[[str], None]  # prints a line for the owner
    drain_seconds: Callable[[], float]
    ends_at: Callable[[], float | None]  # Unix seconds: when `stopping` will be set, where that is known
    remembered: Remembered | None = None
    """Of the swarm: from the last stay, and when this one has ended, for the next."""
    serving: Serving | None = None  # set by the stay while it is in the swarm with layers
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # set by the stay, once it is announced
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set from outside: take no new sessions, let those there are move, and leave."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set from outside: leave now."""


async def stay(config: ServerConfig, identity: Identity, book: Book, controls: Controls) -> None:
    """Serve until told to stop.

    Raises P2PInferError with what the owner can do about it if it can't begin or go on. Cancelling it
    leaves nothing behind either.
    """
    opening = asyncio.ensure_future(_open_model(config, controls.say))
    try:
        async with Swarm.join(
            config.initial_peers,
            identity,
            listen_maddrs=config.dht_listen,
            announce_maddrs=config.announced_maddrs,
            remembered=controls.remembered,
        ) as swarm:
            if not config.initial_peers:
                controls.say(f"join this swarm: --initial-peers {' '.join(swarm.addresses)}")
            store = await opening
            accounts = Accounts(identity, book, receipt_tokens=config.receipt_tokens)
            try:
                await _serve_model(config, swarm, store, accounts, controls)
            finally:
                accounts.retire(everybody=True)
                controls.remembered = swarm.remembered
    finally:
        opening.cancel()


async def _open_model(config: ServerConfig, say: Callable[[str], None]) -> LayerStore:
    """Find the model, and convert it the first time; cancelled, the thread ends after the present layer."""
    given_up = threading.Event()

    def progress(line: str) -> None:
        if given_up.is_set():
            raise InterruptedError
        say(line)

    try:
        return await in_thread(
            partial(open_model, config.model, cache_folder=config.cache_folder, progress=progress)
        )
    finally:
        given_up.set()


async def _serve_model(
    config: ServerConfig, swarm: Swarm, store: LayerStore, accounts: Accounts, controls: Controls
) -> None:
    """Claim layers, load them, serve; the claim is withdrawn however it ends."""
    manifest = store.manifest
    layers = await _choose_layers(config, swarm, store)
    controls.say(f"model {manifest.name}: {manifest.num_layers} layers, manifest {manifest.hash[:12]}")
    claim = _claim(config, swarm, store, layers)
    await announce_first(swarm, lambda: claim)  # so that others who join now choose other layers
    try:
        engine = await in_thread(partial(_load, config, store, layers))
        speed = await in_thread(partial(measure_speed, engine))
        try:
            await _serve_sessions(config, swarm, manifest, claim, engine, speed, accounts, controls)
        finally:
            controls.serving = None
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
    accounts: Accounts,
    controls: Controls,
) -> None:
    """Listen, announce, serve until told to stop, let the sessions move, tell those that are left."""
    sessions = SessionTable(
        engine,
        cache_tokens=_cache_tokens(config, engine),
        idle_seconds=config.idle_seconds,
        accounts=accounts,
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
                    leaves_at=controls.ends_at() if leaves_at is None else leaves_at,
                    numerics=engine.numerics,
                    endpoints=reachable.endpoints,
                    certificate=reachable.certificate.der,
                    decode_seconds_per_layer=batcher.decode_seconds_per_layer / runner.duty,
                    prefill_tokens_per_second=batcher.prefill_tokens_per_second * runner.duty,
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
            heartbeats = Heartbeats(swarm, describe, config.heartbeat_seconds)
            controls.serving = Serving(
                swarm, claim.layers, manifest.name, sessions, runner, heartbeats.hasten
            )
            controls.ready.set()

            async def until_drained() -> None:
                nonlocal leaves_at
                await controls.stopping.wait()
                seconds = controls.drain_seconds()
                leaves_at = time.time() + seconds
                if len(sessions):  # else the next announcement withdraws it
                    heartbeats.hasten()
                await drain(sessions, seconds, controls.leaving, controls.say)

            await first_of(
                until_drained(),
                heartbeats.beat_forever(),
                heartbeats.hasten_after_rejoining(),
                sessions.expire_forever(),
                runner.wait_failed(),
            )
            controls.say(f"leaving: {counted(len(sessions), 'session is told', 'sessions are told')}")
            sessions.end_all(Refused(Reason.LEAVING, "the server is leaving: move to another"))
            await asyncio.gather(withdraw(swarm, describe()), accounts.wait_settled(SETTLE_SECONDS))


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
        region=config.region,
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
