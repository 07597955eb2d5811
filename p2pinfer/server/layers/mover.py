"""A running server that looks, again and again, whether it would help more with other layers, and goes there.

It says what it intends before it does anything, and looks again. It fetches what it lacks while it serves on.
Only then does it ask its sessions to move.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from p2pinfer.backoff import Chance, jittered
from p2pinfer.errors import P2PInferError, SwarmError
from p2pinfer.server.layers.lookout import Lookout
from p2pinfer.server.placement.choice import rates_of
from p2pinfer.server.placement.moving import (
    LEAST_STAY_SECONDS,
    MOST_YIELDS,
    Intention,
    Move,
    better_move,
    leaves_no_gap,
    look_seconds,
    may_go,
    may_move_again,
    rivals_of,
)
from p2pinfer.server.placement.settling import LOOK_SECONDS, MOST_LOOKS
from p2pinfer.server.placement.view import View
from p2pinfer.swarm.census.strength import expected_stay
from p2pinfer.types import Span

_ANSWERS_SECONDS = 4.0
"""How long answers are waited for. A running server has time: who is slow to answer hasn't gone."""

_AFTER_FAILURE_SECONDS = 600.0
"""What can't be fetched now isn't asked for again at once."""

logger = logging.getLogger(__name__)


class Mover:
    """One server's, while it serves one span. For the event loop.

    `moves_to` and `is_undecided` belong into the server's record.
    """

    def __init__(
        self,
        lookout: Lookout,
        layers: Span,
        *,
        seconds_per_layer: Callable[[], float],
        leaves_at: Callable[[], float | None],
        fetch: Callable[[Span], Awaitable[None]],
        moved_at: list[float],
        say: Callable[[str], None],
        chance: Chance = random.random,
    ) -> None:
        """`seconds_per_layer()`: a token's, as measured; 0.0: unknown. `leaves_at()`, Unix seconds, if known.

        `fetch` gets what is lacking of a span. `moved_at` are the times of former moves, Unix seconds.
        """
        self.moves_to: Span | None = None
        self.is_undecided = False
        """True while it may still stay."""
        self._lookout = lookout
        self._layers = layers
        self._seconds_per_layer = seconds_per_layer
        self._leaves_at = leaves_at
        self._fetch = fetch
        self._moved_at = moved_at
        self._say = say
        self._chance = chance
        self._pause_seconds = look_seconds(1)
        self._yields = 0  # in a row

    async def wait(self, announce: Callable[[], Coroutine[Any, Any, object]]) -> Move:
        """Return when the server should go, with all that it needs there. `announce` publishes its record."""
        while True:
            await asyncio.sleep(2 * self._chance() * self._pause_seconds)
            try:
                move = await self._consider(announce)
                if move is not None and await self._prepare(move, announce):
                    self._moved_at.append(time.time())
                    return move
            except SwarmError as error:
                logger.debug("no look at the other servers: %s", error)
            await self._stay(announce)

    async def _consider(self, announce: Callable[[], Coroutine[Any, Any, object]]) -> Move | None:
        """Where to go, if others let us go first. The intention is announced then. Raises SwarmError.

        Rivals that should give way get some time to do it, or to say that they are on their way already.
        """
        if not self._is_free_to_move():
            return None
        async with self._lookout.roll_call() as roll_call:
            first = self._better(await self._lookout.look(roll_call, _ANSWERS_SECONDS))
            if first is None:
                self._yields = 0
                return None
            self.moves_to, self.is_undecided = first.span, True
            await announce()
            for _ in range(MOST_LOOKS):
                await asyncio.sleep(jittered(LOOK_SECONDS, self._chance))
                view = await self._lookout.look(roll_call, _ANSWERS_SECONDS)
                move = self._better(view)
                if move is None or move.span != first.span:
                    return None
                ours = self._intention(move)
                if self._yields < MOST_YIELDS and not may_go(ours, view.intentions):
                    self._yields += 1
                    return None
                if not rivals_of(ours, view.intentions):
                    break
        self._yields = 0
        return move

    async def _prepare(self, move: Move, announce: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Fetch what is lacking. False if it can't be had, or others have left. Raises SwarmError."""
        self.is_undecided = False
        await announce()
        self._say(f"moving from layers {self._layers} to {move.span}: {move}")
        try:
            await self._fetch(move.span)
        except P2PInferError as error:
            self._say(f"staying with layers {self._layers}: {error}")
            self._pause_seconds = _AFTER_FAILURE_SECONDS
            return False
        if not await self._may_leave(move.span):
            self._say(f"staying with layers {self._layers}: others that had them have left")
            return False
        return True

    async def _may_leave(self, span: Span) -> bool:
        """True if the others have what we leave. One that isn't seen at once may be seen a moment later."""
        async with self._lookout.roll_call() as roll_call:
            for _ in range(MOST_LOOKS):
                view = await self._lookout.look(roll_call, _ANSWERS_SECONDS)
                if leaves_no_gap(view.holders, self._layers, span):
                    return True
                await asyncio.sleep(jittered(LOOK_SECONDS, self._chance))
        return False

    async def _stay(self, announce: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Take the intention back."""
        if self.moves_to is not None:
            self.moves_to, self.is_undecided = None, False
            try:
                await announce()
            except SwarmError as error:  # the next heartbeat says it
                logger.debug("announcing failed: %s", error)

    def _is_free_to_move(self) -> bool:
        now, leaves_at = time.time(), self._leaves_at()
        stays = leaves_at is None or leaves_at - now >= LEAST_STAY_SECONDS
        return stays and may_move_again(self._moved_at, now)

    def _better(self, view: View) -> Move | None:
        stay = expected_stay(self._leaves_at(), time.time())
        rate = stay / (self._seconds_per_layer() or view.seconds_per_layer)
        self._pause_seconds = look_seconds(view.servers + 1)
        ourselves = self._lookout.ourselves(rate)
        return better_move(rates_of(view.everybody.stretches), view.holders, self._layers, ourselves)

    def _intention(self, move: Move) -> Intention:
        ourselves = self._lookout.ourselves(1.0)
        return Intention(
            peer_id=ourselves.peer_id,
            model=ourselves.model,
            origin=self._layers,
            target=move.span,
            announced_at=time.time(),
        )
