"""The layers of one serving period: claimed, fetched, loaded, served, and exchanged for others."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from p2pinfer.errors import EngineError, ModelError, StoreError
from p2pinfer.model.engine.base import Engine
from p2pinfer.model.layer_store.names import layer_file, layer_files
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.memory import return_memory
from p2pinfer.server.compute.speed import Speed
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.door.guests import Guests
from p2pinfer.server.door.listeners import Reachable, open_to_peers
from p2pinfer.server.door.reception import Reception
from p2pinfer.server.layers.announcing import withdraw
from p2pinfer.server.layers.claim import claimed, joining_record
from p2pinfer.server.layers.layer_choice import LayerChoice
from p2pinfer.server.layers.mover import Mover
from p2pinfer.server.life.caretaking import keep_ends_forever
from p2pinfer.server.life.model_loading import load_layers
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.life.span_service import LoadedSpan, SpanService
from p2pinfer.server.placement.moving import MOST_MOVES_PER_HOUR, Move
from p2pinfer.server.sessions.accounts import Accounts
from p2pinfer.sharing.give.gate import Gate
from p2pinfer.sharing.give.service import SharingService
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.library import Library
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import cancel_and_wait, first_of
from p2pinfer.types import Span
from p2pinfer.wire.inference_pb2_grpc import add_InferenceServicer_to_server
from p2pinfer.wire.sharing_pb2_grpc import add_SharingServicer_to_server


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerService:
    """One serving period's. For the event loop."""

    config: ServerConfig
    swarm: Swarm
    library: Library
    store: LayerStore
    holdings: Holdings
    choice: LayerChoice
    accounts: Accounts
    period: ServingPeriod
    moved_at: list[float] = field(default_factory=list)  # Unix seconds

    async def run(self) -> None:
        """Open the door, and serve until the period ends. Raises P2PInferError, as `serve_period` does."""
        config, period, reception = self.config, self.period, Reception()
        gate = Gate(limits=period.sharing_limits, activity=period.activity)
        services = [
            partial(add_InferenceServicer_to_server, reception),
            partial(add_SharingServicer_to_server, SharingService(self.store, self.holdings, gate)),
        ]
        async with open_to_peers(
            config.listen,
            config.announce,
            services,
            reception.adopt,
            self.swarm,
            Guests(self.accounts.merits),
        ) as reachable:
            claim, former = partial(self._claim, reachable), None
            while True:
                try:
                    move = await self._serve_span(claim, reception, reachable)
                except (EngineError, ModelError) as error:
                    if former is None or period.ready.is_set():
                        raise
                    words = f"layers {self.choice.layers} can't be used: {error}; back to {former}"
                    period.say(words)
                    period.explain(words)
                    self.choice.layers, former = former, None
                    # It would fail again, and sessions would have to move for nothing.
                    self.moved_at.extend([time.time()] * MOST_MOVES_PER_HOUR)
                    continue
                if move is None:
                    return
                if period.stopping.is_set():  # the owner ends it: nothing that is loaded now would be used
                    await withdraw(self.swarm, claim())
                    return
                period.explain(f"moved from layers {self.choice.layers} to {move.span}: {move}")
                period.ready.clear()
                former, self.choice.layers = self.choice.layers, move.span
                gc.collect()  # sessions, callbacks and the engine refer to each other
                return_memory()

    def _claim(self, reachable: Reachable) -> Announcement:
        return joining_record(
            self.config,
            self.swarm.peer_id,
            self.store.manifest,
            self.choice,
            reachable,
            self._holds_ends,
            self.period.ends_at,
        )

    def _holds_ends(self) -> bool:
        return self.holdings.holds(self.store.manifest.end_files)

    async def _serve_span(
        self, claim: Callable[[], Announcement], reception: Reception, reachable: Reachable
    ) -> Move | None:
        """Claim layers, settle which, fetch what is missing of them, load and serve them.

        Returns where the server goes; None: the period has ended.
        """
        config, swarm, choice = self.config, self.swarm, self.choice
        async with claimed(swarm, claim, config.heartbeat_seconds) as claiming:
            await choice.settle(lambda: swarm.announce(claim()))
            engine, speed = await self._loaded(choice.layers)
            await cancel_and_wait(claiming)
            span = LoadedSpan(
                manifest=self.store.manifest,
                claim=claim(),
                engine=engine,
                speed=speed,
                holds_ends=self._holds_ends,
                make_mover=None if config.layers is not None else self._mover,
            )
            service = SpanService(config, swarm, span, self.accounts, self.period, choice.lookout.roster)
            caring = keep_ends_forever(
                swarm, self.library, self.store, self.holdings, self.period.sharing_limits
            )
            await first_of(service.run(reception, reachable), caring)
            return service.move

    async def _loaded(self, layers: Span) -> tuple[Engine, Speed]:
        await self.library.fetch(self.store, layer_files(layers), self.holdings)
        if self.period.chosen.listing is not None:
            self.library.remember(self.period.chosen.listing)
        load = partial(load_layers, self.config, self.store, layers, self.period.say)
        try:
            return await load()
        except StoreError:
            if not await self.library.repair(self.store, layer_files(layers), self.holdings):
                raise
            return await load()

    def _mover(self, seconds_per_layer: Callable[[], float]) -> Mover:
        return Mover(
            self.choice.lookout,
            self.choice.layers,
            seconds_per_layer=seconds_per_layer,
            leaves_at=self.period.ends_at,
            fetch=self._fetch_beside,
            moved_at=self.moved_at,
            say=self.period.say,
        )

    async def _fetch_beside(self, span: Span) -> None:
        """Fetch layers while others are served. Files of layers that are outside of both go if need be."""
        names, store, holdings = layer_files(span), self.store, self.holdings
        try:
            await self.library.fetch(store, names, holdings)
        except StoreError:
            kept = set(names) | set(layer_files(self.choice.layers))
            spare = {layer_file(layer) for layer in range(store.manifest.num_layers)} - kept
            if not self.library.may_remove(store) or not await holdings.remove_files(sorted(spare)):
                raise
            await self.library.fetch(store, names, holdings)
