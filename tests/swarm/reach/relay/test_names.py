"""Relays say who asks for a stream, and the target believes only who has signed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.reach.relay.asking import on_relayed
from p2pinfer.swarm.reach.relay.framing import close_streams, write_message
from p2pinfer.swarm.reach.relay.messages import Relayed, encode_relayed
from p2pinfer.swarm.reach.relay.proof import prove
from p2pinfer.swarm.reach.relay.streams import RELAYED
from p2pinfer.types import PeerId
from tests.swarm.reach.relay.conftest import Trio

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_relay_cannot_name_others_as_those_who_ask(trio: Trio) -> None:
    """Not without their word, with that of another, or with a word that was used: it could end tunnels."""
    asked: list[PeerId] = []

    async def handler(asker: PeerId, stream: Stream, through: PeerId) -> None:
        assert through == relay
        asked.append(asker)
        await close_streams(stream)

    async def pass_on(proof: bytes) -> None:
        reader, writer = stream = await trio.relay.open_stream(trio.server.peer_id, RELAYED)
        with suppress(ConnectionResetError):
            await write_message(writer, encode_relayed(Relayed(trio.client.peer_id, proof)))
            assert await asyncio.wait_for(reader.read(), 30) == b""
        await close_streams(stream)

    relay, server = trio.relay.peer_id, trio.server.peer_id
    right = prove(trio.client.sign, relay, server, time.time())
    async with on_relayed(trio.server, handler, trio.is_relay):
        for proof in (
            b"",
            prove(trio.relay.sign, relay, server, time.time()),
            prove(trio.client.sign, server, server, time.time()),
        ):
            await pass_on(proof)
        assert not asked
        for _ in range(2):
            await pass_on(right)
        assert asked == [trio.client.peer_id]
