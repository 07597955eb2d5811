"""Persistence: a connection that ends is made again, and a look is repeated, until the owner of both ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from p2pinfer.backoff import Backoff, Chance, jittered
from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.tasks import cancel_and_wait

_VOUCH_SECONDS = 15.0
_CLOSING_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """How long to wait before a connection is tried again."""

    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=0.5, most_seconds=30.0))
    hopeless_seconds: float = 60.0  # after the other side has refused us

    def seconds(self, failures: int, *, hopeless: bool, chance: Chance = random.random) -> float:
        """The wait after this number of failures in a row (1: the first).

        The wait after a refusal never drops to nothing: a server may lock us out for asking too often.
        """
        if hopeless:
            return jittered(max(self.backoff.longest_seconds(failures), self.hopeless_seconds), chance)
        return self.backoff.seconds(failures, chance)


USUAL_PAUSES = Pauses()

Connection = Callable[[Callable[[], None]], Awaitable[None]]
"""One connection, from its start to the SourceError that ends it. Its argument is a function that it calls
as soon as the connection is established."""


async def keep_connected(
    known: Known, origin: str, signals: Collection[Signal], connection: Connection, pauses: Pauses
) -> None:
    """Make the connection again and again, until cancelled.

    The count of failures starts again after a connection that held longer than the longest pause before it.
    A source that accepts us only to throw us out is therefore asked less and less often.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    established_at: float | None = None

    def established() -> None:
        nonlocal established_at
        established_at = loop.time()
        known.well(origin)

    while True:
        established_at = None
        failures += 1
        try:
            await connection(established)
        except SourceError as error:
            known.lose(signals, origin=origin, error=error)
            longest_pause = pauses.backoff.longest_seconds(failures)
            if established_at is not None and loop.time() - established_at > longest_pause:
                failures = 1
            await asyncio.sleep(pauses.seconds(failures, hopeless=error.hopeless))


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
    """Look again and again, until cancelled. The result of a look counts until the next look is due.

    A look that takes longer than `patience_seconds` is reported as a trouble and waited for: whatever blocks
    this look would block the next one too.
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
    """Run the parts of a connection until one of them ends; raise what that part raised, and end the others.

    Unlike `tasks.first_of` this never waits for ever. The other parts get a moment to say goodbye, and a
    second moment to stop; a part that still runs then is left alone, because its peer may never answer.
    """
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
    finally:
        for _ in range(2):
            closing = asyncio.ensure_future(cancel_and_wait(*tasks))
            await asyncio.wait({closing}, timeout=_CLOSING_SECONDS)
            if closing.done():
                break
    for task in [*ended, *tasks]:
        if task.done() and not task.cancelled():
            task.result()
    raise SourceError("the connection was lost", kind="lost")
