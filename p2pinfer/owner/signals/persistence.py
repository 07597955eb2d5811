"""Keeping at it: connections that are tried again for ever, looks that are repeated for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.trouble import SourceError

_VOUCH_SECONDS = 15.0
_CLOSING_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """How long to wait before a connection is tried again: doubled each time."""

    first_seconds: float = 0.5
    most_seconds: float = 30.0
    hopeless_seconds: float = 60.0  # where the other side has refused us


USUAL_PAUSES = Pauses()

Connection = Callable[[Callable[[], None]], Awaitable[None]]
"""A connection from its beginning to the SourceError that ends it. It is given a function to call once it is
established."""


async def keep_connected(
    known: Known, origin: str, signals: Collection[Signal], connection: Connection, pauses: Pauses
) -> None:
    """Make the connection again and again, until cancelled.

    One that held longer than the pause before it earns a fresh start: a source that accepts us only to
    throw us out isn't hammered.
    """
    loop = asyncio.get_running_loop()
    pause = pauses.first_seconds
    established_at: float | None = None

    def established() -> None:
        nonlocal established_at
        established_at = loop.time()
        known.well(origin)

    while True:
        established_at = None
        try:
            await connection(established)
        except SourceError as error:
            known.lose(signals, origin=origin, error=error)
            if established_at is not None and loop.time() - established_at > pause:
                pause = pauses.first_seconds
            await asyncio.sleep(max(pause, pauses.hopeless_seconds) if error.hopeless else pause)
        pause = min(2 * pause, pauses.most_seconds)


async def keep_looking(
    known: Known,
    signal: Signal,
    *,
    origin: str,
    look: Callable[[], Awaitable[Told]],
    every_seconds: float,
    patience_seconds: float = 5.0,
    max_age_seconds: float | None = None,
) -> None:
    """Look again and again, until cancelled; what was seen counts until the next look is due.

    A look that takes longer than `patience_seconds` is complained about and waited for: whatever blocks it
    would block the next one as well.
    """
    while True:
        looking = asyncio.ensure_future(look())
        try:
            await asyncio.wait({looking}, timeout=patience_seconds)
            if not looking.done():
                error = SourceError(f"it takes longer than {patience_seconds:g} s", kind="slow")
                known.complain(signal, origin=origin, error=error)
            told = await looking
        except SourceError as error:
            known.withdraw(signal, origin=origin, error=error)
        else:
            known.tell(signal, told, origin=origin, max_age_seconds=max_age_seconds)
        finally:
            looking.cancel()
        due_in = every_seconds
        while due_in > _VOUCH_SECONDS:
            await asyncio.sleep(_VOUCH_SECONDS)
            due_in -= _VOUCH_SECONDS
            known.vouch([signal])
        await asyncio.sleep(due_in)


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all of a connection's parts until one ends, and raise what it raised. The others end too.

    They are given a moment to part politely, then another one to part at all: whoever doesn't answer us
    needn't be waited for.
    """
    tasks = {asyncio.create_task(part) for part in parts}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
    finally:
        for _ in range(2):
            for task in tasks:
                task.cancel()
            _, left = await asyncio.wait(tasks, timeout=_CLOSING_SECONDS)
            if not left:
                break
        errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    for task in ended:
        if not task.cancelled():
            task.result()
    for error in errors:
        if error is not None:
            raise error
    raise SourceError("the connection was lost", kind="lost")
