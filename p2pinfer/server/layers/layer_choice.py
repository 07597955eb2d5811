"""Which layers this server takes: those that its owner names, or those with which it helps the swarm most.

It asks some servers whether they are there, chooses, claims what it has chosen, and looks again: of those
that have claimed the same layers at the same time, all but one choose anew. Nothing is fetched before that.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from p2pinfer.backoff import jittered
from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.model.engine import numerics_class
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.compute.budget import default_num_layers, most_num_layers
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.machine.memory import available_memory_bytes
from p2pinfer.server.placement.asking import credit_of, present
from p2pinfer.server.placement.choice import Newcomer, Sizes, choose_span, rates_of, share_here
from p2pinfer.server.placement.roll_call import RollCall
from p2pinfer.server.placement.settling import LOOK_SECONDS, Claim, Looks, settled
from p2pinfer.server.placement.view import View, view_of
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel import dial
from p2pinfer.threads import in_thread
from p2pinfer.types import Span

ANSWERS_SECONDS = 1.0
"""How long the first choice waits for answers. Later ones count when the server looks again."""
_LATE_ANSWERS_SECONDS = 0.2

logger = logging.getLogger(__name__)


def check_layers(config: ServerConfig, model_name: str, num_layers: int) -> None:
    """Raise UsageError if the model lacks layers that the owner names."""
    whole = Span(0, num_layers)
    if config.layers is not None and not config.layers.within(whole):
        raise UsageError(f"--layers {config.layers}: {model_name} has layers {whole}")


class LayerChoice:
    """The choice of one serving period. Made by `choosing`; for the event loop."""

    def __init__(
        self,
        swarm: Swarm,
        store: LayerStore,
        roll_call: RollCall,
        *,
        ordered: Span | None,
        sizes: Sizes,
        numerics: str,
        leaves_at: float | None,
    ) -> None:
        """`ordered` are the layers that the owner names. `leaves_at`, Unix seconds, if that is known."""
        manifest = store.manifest
        self.numerics = numerics
        self.layers = ordered or Span(0, manifest.num_layers)
        self.is_settled = ordered is not None
        """False while other layers may be chosen."""
        self._swarm = swarm
        self._model = manifest.hash
        self._num_layers = manifest.num_layers
        self._roll_call = roll_call
        self._leaves_at = leaves_at
        self._newcomer = Newcomer(
            peer_id=swarm.peer_id,
            model=manifest.hash,
            sizes=sizes,
            layer_rate=1.0,  # until there is something to compare it with
            held=frozenset(layer for layer in range(manifest.num_layers) if store.has(layer_file(layer))),
        )

    async def choose(self) -> None:
        """Choose layers for the first time. Raises SwarmError if the swarm can't be read."""
        if not self.is_settled:
            view, newcomer = await self._look(ANSWERS_SECONDS)
            self.layers = choose_span(rates_of(view.everybody.stretches), newcomer)

    async def settle(self, announce: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Look at what others claim, and choose anew where that is our part. Takes 0.6 to 3 s.

        The layers have been claimed; `announce` replaces the claim by one for those of now. A swarm that
        can't be read, or doesn't take the new claim, isn't waited for: what was chosen is as good as what can
        be known.
        """
        if self.is_settled:
            return
        looks, enough = Looks(), False
        try:
            while not enough:
                await asyncio.sleep(jittered(LOOK_SECONDS))
                moved, enough = await self._reconsider(looks)
                if moved and not enough:
                    await announce()
            self.is_settled = True
            await announce()
        except SwarmError as error:
            logger.warning("layers %s are chosen without knowing what others chose: %s", self.layers, error)
        finally:
            self.is_settled = True
            await self._roll_call.close()

    async def _reconsider(self, looks: Looks) -> tuple[bool, bool]:
        """Whether other layers were chosen, and whether that was the last look."""
        view, newcomer = await self._look(_LATE_ANSWERS_SECONDS)
        ours = Claim(
            peer_id=newcomer.peer_id,
            model=newcomer.model,
            layers=self.layers,
            layer_rate=newcomer.layer_rate,
            announced_at=time.time(),
        )
        layers = settled(rates_of(view.firm.stretches), view.claims, ours, newcomer)
        moved, self.layers = layers != self.layers, layers
        return moved, looks.are_enough(view.claims, moved=moved, waiting=self._roll_call.is_waiting)

    async def _look(self, wait_seconds: float) -> tuple[View, Newcomer]:
        """The model's servers that count, and ourselves beside them. Raises SwarmError."""
        servers = await self._swarm.servers(self._model)
        records = [
            record
            for record in present(servers, self._swarm.peer_id, self._num_layers)
            if record.numerics == self.numerics
        ]
        answered = await self._roll_call.call(records, wait_seconds)
        now = time.time()
        credit = credit_of(records, answered, self._num_layers)
        view = view_of(records, credit, self._num_layers, now)
        return view, replace(self._newcomer, layer_rate=view.own_rate(self._leaves_at, now))


@asynccontextmanager
async def choosing(
    config: ServerConfig, swarm: Swarm, store: LayerStore, leaves_at: float | None
) -> AsyncIterator[LayerChoice]:
    """Choose layers; the choice may be settled within the block, when it has been claimed.

    Raises UsageError if the model doesn't have the layers that were asked for, or the engine can't be used,
    SwarmError if the swarm can't be read.
    """
    manifest = store.manifest
    check_layers(config, manifest.name, manifest.num_layers)
    numerics = await in_thread(
        partial(numerics_class, store, device=config.device, engine=config.engine), name="p2pinfer-engine"
    )
    async with RollCall(swarm.peer_id, manifest.num_layers, partial(dial, swarm)) as roll_call:
        choice = LayerChoice(
            swarm,
            store,
            roll_call,
            ordered=config.layers or _founders_layers(config, store),
            sizes=_sizes(config, store),
            numerics=numerics,
            leaves_at=leaves_at,
        )
        await choice.choose()
        yield choice


def _founders_layers(config: ServerConfig, store: LayerStore) -> Span | None:
    """The layers that are here, where a partial store begins a swarm: nobody could give it the others."""
    if config.initial_peers or config.num_layers is not None:
        return None
    return share_here(store.has(layer_file(layer)) for layer in range(store.manifest.num_layers))


def _room_layers(config: ServerConfig, store: LayerStore, largest_layer_bytes: int) -> int:
    """How many layers the disk has room for, those that are here included; at least one."""
    total = store.manifest.num_layers
    here = [layer for layer in range(total) if store.has(layer_file(layer))]
    if len(here) == total:
        return total
    if config.disk_gb is not None:
        room_bytes = int(config.disk_gb * 1e9)
    else:
        here_bytes = sum(store.layer_bytes(Span(layer, layer + 1)) for layer in here)
        room_bytes = shutil.disk_usage(store.folder).free + here_bytes
    return max(1, min(total, room_bytes // largest_layer_bytes))


def _sizes(config: ServerConfig, store: LayerStore) -> Sizes:
    """How many layers this machine may take: the owner's number, or what memory and disk have room for."""
    total = store.manifest.num_layers
    if config.num_layers is not None:
        return Sizes.exactly(min(config.num_layers, total))
    largest_layer_bytes = max(store.layer_bytes(Span(layer, layer + 1)) for layer in range(total))
    free_bytes = available_memory_bytes()
    room = _room_layers(config, store, largest_layer_bytes)
    usual, most = (
        number(largest_layer_bytes=largest_layer_bytes, free_bytes=free_bytes, num_layers=room)
        for number in (default_num_layers, most_num_layers)
    )
    return Sizes(least=-(-usual // 2), usual=usual, most=most)
