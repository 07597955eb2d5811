"""Which layers this server takes: those that its owner names, or those with which it helps the swarm most.

It asks some servers whether they are there, chooses, claims what it has chosen, and looks again: of those
that have claimed the same layers at the same time, all but one choose anew. Nothing is fetched before that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from p2pinfer.backoff import jittered
from p2pinfer.errors import SwarmError, UsageError
from p2pinfer.model.engine import numerics_class
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.layers.lookout import Lookout
from p2pinfer.server.layers.sizes import founders_layers, sizes_for
from p2pinfer.server.placement.choice import Newcomer, choose_span, rates_of
from p2pinfer.server.placement.roll_call import RollCall
from p2pinfer.server.placement.settling import LOOK_SECONDS, Claim, Looks, settled
from p2pinfer.server.placement.view import View
from p2pinfer.swarm.swarm import Swarm
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
        lookout: Lookout,
        roll_call: RollCall,
        *,
        ordered: Span | None,
        whole: Span,
        leaves_at: float | None,
    ) -> None:
        """`ordered` are the layers that the owner names, `whole` the model's. `leaves_at`: Unix seconds."""
        self.lookout = lookout
        self.layers = ordered or whole
        self.is_settled = ordered is not None
        """False while other layers may be chosen."""
        self._roll_call = roll_call
        self._leaves_at = leaves_at

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
        view = await self.lookout.look(self._roll_call, wait_seconds)
        return view, self.lookout.ourselves(view.own_rate(self._leaves_at, time.time()))


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
    lookout = Lookout(swarm, store, numerics=numerics, sizes=sizes_for(config, store))
    async with lookout.roll_call() as roll_call:
        choice = LayerChoice(
            lookout,
            roll_call,
            ordered=config.layers or founders_layers(config, store),
            whole=Span(0, manifest.num_layers),
            leaves_at=leaves_at,
        )
        await choice.choose()
        yield choice
