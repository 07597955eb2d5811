"""Servers of a real swarm say how far it is from one to the next, and clients still get the right text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.identity import Identity
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId, Span
from tests.end_to_end.conftest import PROMPTS, OneProcess

HALVES = (Span(0, 15), Span(0, 15), Span(15, 30), Span(12, 30))
SECONDS = 90.0
"""A first round comes within 4 s of a server's start, a heartbeat within 18 s of that."""


async def test_four_servers_announce_their_ways_to_those_that_continue_their_layers(
    smollm2: LayerStore, one_process: OneProcess, tokenizer: PreTrainedTokenizerBase
):
    with LocalSwarm() as servers:
        await asyncio.to_thread(servers.start, smollm2.folder, HALVES, threads=1)
        expected = dict(zip(servers.peer_ids, expected_neighbours(servers.peer_ids), strict=True))
        async with Swarm.join(servers.initial_peers, Identity.ephemeral(), client_only=True) as swarm:
            records = await measured(swarm, smollm2.manifest.hash, expected)
        text = await asyncio.to_thread(generate, smollm2, servers, tokenizer)

    ways = [seconds for record in records for seconds in record.next_hop_seconds.values()]
    print(f"ways between servers: {', '.join(f'{seconds * 1e3:.2f} ms' for seconds in ways)}")
    assert all(0 < seconds < 5.0 for seconds in ways)
    assert all(set(record.batch_costs) >= {8, 32} for record in records)
    assert text == one_process.greedy(tokenizer(PROMPTS[0])["input_ids"], 8)


def expected_neighbours(peers: Sequence[PeerId]) -> list[set[PeerId]]:
    """A first half goes on at either second half; the larger of these may be left for the smaller one."""
    return [{peers[2], peers[3]}, {peers[2], peers[3]}, set(), {peers[2]}]


async def measured(swarm: Swarm, model: str, expected: dict[PeerId, set[PeerId]]) -> list[Announcement]:
    """Wait until all servers announce the ways that they should."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        records = await swarm.servers(model)
        if {record.peer_id: set(record.next_hop_seconds) for record in records} == expected:
            return records
        await asyncio.sleep(0.5)
    raise AssertionError(f"the records say {[record.next_hop_seconds for record in records]}")


def generate(store: LayerStore, servers: LocalSwarm, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The next eight tokens of the first prompt."""
    ids = tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    with AutoDistributedModelForCausalLM.from_pretrained(
        store.folder, initial_peers=servers.initial_peers
    ) as model:
        return model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :].tolist()
