"""Streams are taken for exactly those protocols that have a handler, through any number of p2pd processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import Presence
from p2pinfer.types import PeerId
from tests.swarm.conftest import QUICK, join_here, lose_p2pd, rejoining


async def test_handlers_that_change_while_a_member_greets_others_again_are_right_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """p2pd had those of a moment before: streams for a later one were refused until its next restart."""
    greets, goes_on = asyncio.Event(), asyncio.Event()
    greet = Presence.greet

    async def greet_slowly(self: Presence, *arguments: Any, **options: Any) -> list[float]:
        greets.set()
        await goes_on.wait()
        return await greet(self, *arguments, **options)

    def telling(word: bytes) -> Callable[[PeerId, Stream], Awaitable[None]]:
        async def tell(peer_id: PeerId, stream: Stream) -> None:
            stream[1].write(word)
            stream[1].close()

        return tell

    async def word_of(protocol: str) -> bytes:
        reader, writer = await first.open_stream(swarm.peer_id, protocol)
        try:
            return await reader.read()
        finally:
            writer.close()

    async with join_here() as first, join_here(first.addresses, pace=QUICK) as swarm:
        for protocol in ("/kept", "/removed", "/replaced"):
            await swarm.add_stream_handler(protocol, telling(b"old"))
        monkeypatch.setattr(Presence, "greet", greet_slowly)
        async with rejoining(swarm):
            await lose_p2pd(swarm)
            await greets.wait()
            await swarm.remove_stream_handler("/removed")
            await swarm.remove_stream_handler("/replaced")
            await swarm.add_stream_handler("/replaced", telling(b"new"))
            await swarm.add_stream_handler("/added", telling(b"new"))
            goes_on.set()
        assert await word_of("/kept") == b"old"
        assert await word_of("/replaced") == b"new"
        assert await word_of("/added") == b"new"
        with pytest.raises(SwarmError):
            await word_of("/removed")


async def test_a_handler_that_was_not_quite_removed_can_be_added_again() -> None:
    """p2pd still has it: who was a relay, and becomes one again, failed, and the whole server with it."""
    taken: asyncio.Queue[PeerId] = asyncio.Queue()

    async def take(peer_id: PeerId, stream: Stream) -> None:
        taken.put_nowait(peer_id)
        stream[1].close()

    async with join_here() as first, join_here(first.addresses) as swarm:
        await swarm.add_stream_handler("/again", take)
        removing = asyncio.create_task(swarm.remove_stream_handler("/again"))
        for _ in range(2):
            await asyncio.sleep(0)
        removing.cancel()
        await asyncio.wait({removing})
        await swarm.add_stream_handler("/again", take)
        _, writer = await first.open_stream(swarm.peer_id, "/again")
        writer.close()
        assert await asyncio.wait_for(taken.get(), 30) == first.peer_id
