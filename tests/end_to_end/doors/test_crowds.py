"""Crowds that take all they can at real servers, and a newcomer who gets in all the same."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import pytest

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.identity import Identity
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.swarm.tunnel.messages import ID_BYTES, Kind, encode
from p2pinfer.swarm.tunnel.streams import PROTOCOL
from p2pinfer.types import Span
from tests.end_to_end.conftest import PROMPTS

CROWD = 1100
PEERS, STREAMS_PER_PEER = 5, 60
SOON_SECONDS = 30.0  # long before a client gives up


@pytest.fixture(scope="module")
def two_servers(smollm2) -> Iterator[LocalSwarm]:
    """One that is dialled, and one that only tunnels reach."""
    with LocalSwarm() as swarm:
        swarm.start(smollm2.folder, [Span(0, 15)], threads=1)
        hidden = ["--listen", "none", "--dht-listen", "/ip4/127.0.0.1/tcp/0"]
        swarm.start(smollm2.folder, [Span(15, 30)], threads=1, server_arguments=hidden)
        yield swarm


def seconds_of_a_newcomer(swarm: LocalSwarm, smollm2, tokenizer, one_process) -> float:
    """Join as a new client, check a text, and return how long that took after joining."""
    ids = tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    with AutoDistributedModelForCausalLM.from_pretrained(
        smollm2.folder, initial_peers=swarm.initial_peers
    ) as model:
        began = time.monotonic()
        output = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
        seconds = time.monotonic() - began
    assert output[0, ids.shape[1] :].tolist() == one_process.greedy(ids[0].tolist(), 8)
    return seconds


async def records(swarm: Swarm) -> list[Announcement]:
    [listing] = await swarm.models()
    return await swarm.servers(listing.model)


@contextmanager
def one_byte_each(port: int) -> Iterator[None]:
    """More connections than a server has places, all of one address that isn't the newcomer's."""
    crowd: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for _ in range(CROWD):
            one = stack.enter_context(socket.socket())
            one.bind(("127.1.1.1", 0))
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            crowd.append(one)
        time.sleep(0.3)  # until they are connected
        for one in crowd:
            with contextlib.suppress(OSError):
                one.send(b"\x16")
        yield


def test_a_newcomer_gets_in_while_a_crowd_of_connections_sits_there(
    two_servers, smollm2, tokenizer, one_process
):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4 * CROWD:
        pytest.skip(f"needs {4 * CROWD} open files, and this system allows {hard}")

    async def find_port() -> int:
        async with Swarm.join(two_servers.initial_peers, Identity.ephemeral(), client_only=True) as swarm:
            [endpoint] = [one for record in await records(swarm) for one in record.endpoints]
            return int(endpoint.rpartition(":")[2])

    port = asyncio.run(find_port())
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CROWD), hard))
    try:
        with one_byte_each(port):
            assert seconds_of_a_newcomer(two_servers, smollm2, tokenizer, one_process) < SOON_SECONDS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_newcomer_gets_in_while_five_identities_hold_all_tunnels_they_can(
    two_servers, smollm2, tokenizer, one_process
):
    async with AsyncExitStack() as stack:
        writers = []
        for _ in range(PEERS):
            joining = Swarm.join(two_servers.initial_peers, Identity.ephemeral(), client_only=True)
            peer = await stack.enter_async_context(joining)
            [target] = [record.peer_id for record in await records(peer) if not record.endpoints]
            for _ in range(STREAMS_PER_PEER):
                _, writer = await peer.open_stream(target, PROTOCOL)
                writer.write(encode(Kind.OPEN, 0, secrets.token_bytes(ID_BYTES)))
                writer.write(encode(Kind.DATA, 0, b"\x16"))
                writers.append(writer)
        seconds = await asyncio.to_thread(seconds_of_a_newcomer, two_servers, smollm2, tokenizer, one_process)
        for writer in writers:
            writer.transport.abort()
    assert seconds < SOON_SECONDS
