"""Whether the batches of an owner may go on now: his key has to be there, and not to have used its tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pinfer.openai_api.work.room import Room

_LOOK_SECONDS = 1.0


class HeldUpError(Exception):
    """A batch can't go on now, and nothing of it is under way: its place is another's meanwhile."""


class AllowedRoom:
    """A room that nobody enters while he may not, or while it isn't there."""

    def __init__(self, room_now: Callable[[], Room | None], may_go_on: Callable[[], bool]) -> None:
        """`room_now` gives None until the model is served; then always the same room."""
        self._room_now = room_now
        self._may_go_on = may_go_on
        self._room: Room | None = None
        self._taken = 0

    async def acquire(self) -> None:
        """Wait until it is allowed, and one more is wanted.

        Raises HeldUpError where it isn't, as soon as those that have entered have ended.
        """
        # Files of keys change, days end, and models come without an event.
        while not self._may_go_on() or (room := self._room_now()) is None:
            if not self._taken:
                raise HeldUpError
            await asyncio.sleep(_LOOK_SECONDS)
        self._room = room
        await room.acquire()
        self._taken += 1

    def release(self) -> None:
        """One has ended."""
        assert self._room is not None, "released before it was acquired"
        self._taken -= 1
        self._room.release()
