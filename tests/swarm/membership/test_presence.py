"""What a presence does for callers that give up."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from p2pinfer.identity import Identity
from p2pinfer.swarm.kademlia.hardening import TaskOwner
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.membership.presence import Presence
from p2pinfer.types import PeerId

PEER = Identity.ephemeral().peer_id


@pytest.mark.parametrize("steps", range(6), ids=str)
async def test_a_stream_that_is_opened_when_its_caller_gives_up_is_closed(steps: int) -> None:
    """It was open until p2pd ended, and p2pd takes a few hundred of one peer."""
    ours, theirs = socket.socketpair()
    stream = await asyncio.open_unix_connection(sock=ours)
    has_opened = asyncio.Event()

    class Daemon:
        running = True

        async def open_stream(self, peer_id: PeerId, protocol: str) -> Stream:
            has_opened.set()
            return stream

    daemon: Any = Daemon()
    node: Any = None
    with theirs:
        opening = asyncio.create_task(Presence(daemon, node, TaskOwner()).open_stream(PEER, "/any"))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        if has_opened.is_set():
            assert stream[1].transport.is_closing() == opening.cancelled()
        stream[1].transport.abort()
