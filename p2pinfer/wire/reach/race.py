"""Ways to a peer are tried side by side, each a moment after the one before (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from p2pinfer.tasks import cancel_and_wait
from p2pinfer.wire.reach.endpoints import Endpoint, interleaved
from p2pinfer.wire.reach.winners import TUNNEL, Candidate

T = TypeVar("T")

HEAD_START_SECONDS = 0.25
"""What each way has before the next one is tried beside it."""
TUNNEL_AFTER_SECONDS = 0.75
"""The tunnel waits no longer than that, however many endpoints come before it."""


def in_order(
    endpoints: Collection[Endpoint], favourite: Candidate | None, *, has_tunnel: bool
) -> list[Candidate]:
    """The ways in the order in which they are tried: the favourite, endpoints by turns, the tunnel."""
    order: list[Candidate] = [*interleaved(endpoints), *([TUNNEL] if has_tunnel else [])]
    if favourite in order:
        order.sort(key=lambda candidate: candidate != favourite)
    return order


class Race(Generic[T]):
    """One race for a connection. `run` may be called once."""

    def __init__(
        self,
        attempt: Callable[[Candidate], Coroutine[Any, Any, T | None]],
        discard: Callable[[T], Awaitable[None]],
        *,
        favourite: Candidate | None = None,
        hides_failures: bool = False,
    ) -> None:
        """`attempt` returns a connection, or None if it failed; it leaves nothing behind when cancelled.

        `discard` closes a connection that came too late. With `hides_failures` nobody is tried earlier
        because another has failed: who is tried learns nothing about the others.
        """
        self._attempt = attempt
        self._discard = discard
        self._favourite = favourite
        self._hides_failures = hides_failures
        self._waiting: list[Candidate] = []
        self._running: dict[asyncio.Task[T | None], Candidate] = {}
        self._naming: set[asyncio.Task[Sequence[Endpoint]]] = set()
        self._clock = asyncio.get_running_loop().time
        self.failed: list[Candidate] = []
        """What was tried and led nowhere, also if another way won."""

    async def run(
        self,
        endpoints: Sequence[Endpoint],
        names: Sequence[Coroutine[Any, Any, Sequence[Endpoint]]] = (),
        *,
        has_tunnel: bool,
    ) -> tuple[Candidate, T] | None:
        """The first connection that stands, and the way that led to it; None if all ways fail.

        `names` resolve to more endpoints while others are tried already. All that is under way ends with the
        race, also if it is cancelled.
        """
        self._waiting = in_order(endpoints, self._favourite, has_tunnel=has_tunnel)
        self._naming = {asyncio.create_task(name) for name in names}
        winner: tuple[Candidate, T] | None = None
        try:
            winner = await self._first()
        finally:
            try:
                await self._end()
            except BaseException:
                if winner is not None:
                    await self._discard(winner[1])
                raise
        return winner

    async def _first(self) -> tuple[Candidate, T] | None:
        began = self._clock()
        only_tunnel = not any(isinstance(one, Endpoint) for one in self._waiting)
        is_first_unknown = bool(self._naming) and only_tunnel and self._favourite != TUNNEL
        next_at = began + (HEAD_START_SECONDS if is_first_unknown else 0.0)
        tunnel_at = began + TUNNEL_AFTER_SECONDS
        while self._waiting or self._running or self._naming:
            is_idle = not self._running and not self._naming and not self._hides_failures
            if self._waiting and (is_idle or self._clock() >= next_at):
                self._start(self._waiting[0])
                next_at = self._clock() + HEAD_START_SECONDS
                continue
            if TUNNEL in self._waiting and self._clock() >= tunnel_at:
                self._start(TUNNEL)
                continue
            wakes_at = [next_at] if self._waiting else []
            wakes_at += [tunnel_at] if TUNNEL in self._waiting else []
            await self._something_happens(min(wakes_at) - self._clock() if wakes_at else None)
            for task in [task for task in self._running if task.done()]:
                candidate = self._running.pop(task)
                if (found := task.result()) is not None:
                    return candidate, found
                self.failed.append(candidate)
                if not self._hides_failures:
                    next_at = self._clock()
            for naming in [naming for naming in self._naming if naming.done()]:
                self._naming.discard(naming)
                self._add(naming.result())
        return None

    def _start(self, candidate: Candidate) -> None:
        self._waiting.remove(candidate)
        self._running[asyncio.create_task(self._attempt(candidate))] = candidate

    def _add(self, found: Sequence[Endpoint]) -> None:
        """Put endpoints whose names were resolved just now among those that wait."""
        known = [one for one in self._waiting if isinstance(one, Endpoint)]
        tried = {*self._running.values(), *self.failed}
        fresh = [one for one in found if one not in tried]
        self._waiting = in_order([*known, *fresh], self._favourite, has_tunnel=TUNNEL in self._waiting)

    async def _something_happens(self, seconds: float | None) -> None:
        events: set[asyncio.Task[Any]] = {*self._running, *self._naming}
        if events:
            await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(max(0.0, seconds or 0.0))

    async def _end(self) -> None:
        """End what is still under way, and close connections that stand meanwhile."""
        running, self._running = self._running, {}
        try:
            await cancel_and_wait(*running, *self._naming)
        finally:
            for task in running:
                if not task.done() or task.cancelled():  # not done: the loop has ended before us
                    continue
                if task.exception() is None and (late := task.result()) is not None:
                    await self._discard(late)
