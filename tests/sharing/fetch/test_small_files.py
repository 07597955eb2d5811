"""Small files come into memory, from several peers together, whatever some of them send."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from p2pinfer.errors import SwarmError
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.fetch.small_files import fetch_into_memory
from p2pinfer.sharing.give.service import Limits
from p2pinfer.types import short_id
from p2pinfer.wire import sharing_pb2 as pb
from tests.sharing.fetch.test_lies import Liar, nothing, wrong_bytes
from tests.sharing.give.test_service import ManualGate, chunk_request
from tests.sharing.peers import Peers, random_store

NAMES = (CONFIG_FILE, ENDS_FILE)


@pytest.fixture
def model(tmp_path: Path) -> LayerStore:
    return random_store(tmp_path / "model")


def contents(model: LayerStore) -> dict[str, bytes]:
    return {name: (model.folder / name).read_bytes() for name in NAMES}


async def test_files_come_from_whoever_has_them(peers: Peers, model: LayerStore):
    """Silent peers and liars hold nobody up."""
    total = model.manifest.chunks.total
    services = [Liar(total, nothing), Liar(total, wrong_bytes)]
    holders = [(await peers.add(model, service=service)).holder for service in services]
    holders.append((await peers.add(model)).holder)

    async with asyncio.timeout(30):
        assert await fetch_into_memory(model.manifest, NAMES, holders, peers.pool()) == contents(model)


async def test_no_file_is_an_error_that_says_who_was_asked(peers: Peers, model: LayerStore):
    """With the name of what is missing."""
    liar = await peers.add(model, service=Liar(model.manifest.chunks.total, wrong_bytes))
    with pytest.raises(SwarmError, match=f"{CONFIG_FILE}.*{short_id(liar.peer_id)}"):
        await fetch_into_memory(model.manifest, NAMES, [liar.holder], peers.pool())
    with pytest.raises(SwarmError, match="nobody"):
        await fetch_into_memory(model.manifest, NAMES, [], peers.pool())


async def test_a_busy_peer_is_asked_again(peers: Peers, model: LayerStore):
    """When its places are free."""
    gate = ManualGate()
    limits = Limits(sending=1, waiting=0, retry_seconds=0.05, pulse_seconds=0.01)
    peer = await peers.add(model, gate=gate, limits=limits)
    async with peers.calls(peer) as calls:
        taking = calls.chunk(chunk_request(model, 1), 5.0)
        assert await anext(taking) == pb.ChunkPart()
        fetching = asyncio.ensure_future(
            fetch_into_memory(model.manifest, NAMES, [peer.holder], peers.pool())
        )
        done, _ = await asyncio.wait([fetching], timeout=0.2)
        assert not done
        taking.cancel()
        gate.open.set()
        assert await fetching == contents(model)
