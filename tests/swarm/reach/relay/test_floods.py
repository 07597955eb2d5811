"""Streams by the hundred at a relay: who asks is answered all the same."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from p2pinfer.swarm.reach.relay import service as relay_service
from p2pinfer.swarm.reach.relay.framing import close_streams
from p2pinfer.swarm.reach.relay.streams import RELAY
from p2pinfer.tasks import cancel_and_wait
from tests.swarm.reach.relay.conftest import Trio, echo, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_streams_without_a_request_make_room_for_one_with_a_request(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identities cost nothing: a few of them could hold all requests of a relay with silence."""
    monkeypatch.setattr(relay_service, "MAX_REQUESTS", 4)
    monkeypatch.setattr(relay_service, "_SILENT_SECONDS", 0.0)
    async with trio.relaying() as service, AsyncExitStack() as stack:
        for _ in range(4):
            stream = await trio.client.open_stream(trio.relay.peer_id, RELAY)
            stack.push_async_callback(close_streams, stream)
        await settled(lambda: len(service._silent) == 4)
        async with trio.serving(echo):
            assert service.stats().reservations == 1


async def test_a_peer_with_too_many_streams_gets_no_answer_and_takes_no_room(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_service, "MAX_STREAMS_PER_PEER", 3)
    monkeypatch.setattr(relay_service, "_REQUEST_SECONDS", 3600.0)
    async with trio.relaying() as service, AsyncExitStack() as stack:
        reads = []
        for _ in range(6):
            stream = await trio.client.open_stream(trio.relay.peer_id, RELAY)
            stack.push_async_callback(close_streams, stream)
            reads.append(asyncio.create_task(stream[0].read()))
        stack.push_async_callback(cancel_and_wait, *reads)
        # The relay hears of them in whatever order p2pd brings them.
        await settled(lambda: sum(read.done() for read in reads) == 3)
        for read in reads:
            with suppress(OSError):
                assert not read.done() or read.result() == b""
        assert len(service._tasks) <= 3
        async with trio.serving(echo):
            assert service.stats().reservations == 1
