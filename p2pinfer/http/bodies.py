"""What requests' bodies take of the memory while they come, with a bound in all.

A body that comes slowly costs its sender nothing, and it takes memory until it is there. When all of them
take too much, the oldest of the source that takes most is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive

from p2pinfer.errors import UsageError
from p2pinfer.fairness.crowd import Crowd
from p2pinfer.fairness.sources import Source

_TOO_MUCH = "Too much is being sent at the moment. Send the request again in a minute."


class BodyGivenUpError(UsageError):
    """A body that has come in part was given up: others needed its memory."""


class Arrival:
    """A body that comes."""

    def __init__(self, crowd: Crowd[Arrival], most_bytes: int) -> None:
        self._crowd = crowd
        self._most_bytes = most_bytes
        self._pause: asyncio.Timeout | None = None
        self._is_given_up = False

    async def part(self, receive: Receive) -> Message:
        """The next message, counted. Raises BodyGivenUpError."""
        self._check()
        try:
            async with asyncio.timeout(None) as self._pause:
                message = await receive()
        except TimeoutError as error:
            raise BodyGivenUpError(_TOO_MUCH) from error
        finally:
            self._pause = None
        self._check()
        self.grow(len(message.get("body", b"")))
        return message

    def grow(self, size_bytes: int) -> None:
        """So much of it has come. Raises BodyGivenUpError."""
        if self not in self._crowd:
            return
        self._crowd.grow(self, size_bytes)
        while self._crowd.amount > self._most_bytes:
            self._crowd.first_to_go()._give_up()
        self._check()

    def is_there(self) -> None:
        """It is whole, and counts no longer."""
        self._crowd.remove(self)

    def _give_up(self) -> None:
        self._is_given_up = True
        self._crowd.remove(self)
        if self._pause is not None:
            self._pause.reschedule(asyncio.get_running_loop().time())

    def _check(self) -> None:
        if self._is_given_up:
            raise BodyGivenUpError(_TOO_MUCH)


class Bodies:
    """All bodies that are coming. For the event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._crowd: Crowd[Arrival] = Crowd()

    @property
    def bytes_taken(self) -> int:
        """What all of them have brought so far."""
        return self._crowd.amount

    @contextmanager
    def arriving(self, source: Source) -> Iterator[Arrival]:
        """For as long as a body comes and is needed."""
        arrival = Arrival(self._crowd, self._most_bytes)
        self._crowd.add(arrival, source, 0)
        try:
            yield arrival
        finally:
            self._crowd.remove(arrival)
