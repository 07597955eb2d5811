"""More identities than a key holds records, each with a server under the model's key."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import psutil

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.swarm.records.announcement import encode, model_key
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import Nursery
from scripts.benchmarks.discovery.figures import Flood
from scripts.benchmarks.discovery.town import MODEL, SPANS, Pace, Town, announcement, town
from scripts.benchmarks.discovery.visitor import visit
from scripts.benchmarks.shared.report import say

_LIFETIME_SECONDS = 500.0
_AGAIN_SECONDS = 10.0
_PRICED = 3
_SEEN_SECONDS = 2.0


async def flood(members: int, identities: int, sleep_seconds: float, pace: Pace) -> Flood:
    """Flood while one server sleeps; then it wakes up, another server is new, and a client comes.

    The records go straight into what handles a message of their owners at every honest node: a p2pd for each
    identity would take this machine's memory. What one costs is measured with a few that have one.
    """
    async with town(members, pace) as here:
        each = statistics.median([await _cpu_seconds(here) for _ in range(_PRICED)])
        sleeper, newcomer = here.servers[0], here.plain[0]
        here.asleep.add(sleeper.identity.peer_id)
        async with Nursery() as nursery:
            flooding = nursery.start(_flood(here, [Identity.ephemeral() for _ in range(identities)]))
            say(f"flood: {identities} identities, while a server sleeps for {sleep_seconds:g} s")
            await asyncio.sleep(sleep_seconds)
            for member in (sleeper, newcomer):
                try:
                    await member.swarm.announce(here.announcement(member.identity, SPANS[0]))
                except SwarmError as error:
                    say(f"flood: {error}")
            await asyncio.sleep(_SEEN_SECONDS)
            async with Swarm.join(here.entrance, Identity.ephemeral(), client_only=True) as reader:
                seen = {one.peer_id for one in await reader.servers(MODEL)}
            client = await visit(here, here.entrance, pace.patience_seconds)
            flooding.cancel()
    honest = [member.identity.peer_id for member in [*here.servers, newcomer]]
    return Flood(
        identities=identities,
        cpu_seconds_each=each,
        sleeper_back=sleeper.identity.peer_id in seen,
        newcomer_in=newcomer.identity.peer_id in seen,
        visible=sum(peer_id in seen for peer_id in honest),
        servers=len(honest),
        visit=client,
    )


async def _flood(here: Town, identities: Sequence[Identity]) -> None:
    """Announce a server of every identity at every honest node, and renew them, for ever."""
    key = model_key(MODEL)
    while True:
        records = [_record(identity) for identity in identities]
        for member in here.members:
            for record in records:
                member.node.protocol._store(
                    record.peer_id, key, record.peer_id.encode(), record.data, record.expires_at
                )
            await asyncio.sleep(0)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _cpu_seconds(here: Town) -> float:
    """What a real identity takes: its key and record, and its p2pd from the start to the stored record."""
    began = time.thread_time()
    identity = Identity.ephemeral()
    record = _record(identity)
    seconds = time.thread_time() - began
    async with Swarm.join(here.entrance, identity, client_only=True) as swarm:
        presence = swarm._membership.presence()
        await presence.run(presence.node.put(model_key(MODEL), record))
        times = psutil.Process(swarm.daemon_pid).cpu_times()
    return seconds + float(times.user + times.system)


def _record(identity: Identity) -> Record:
    said = announcement(identity, SPANS[0], _LIFETIME_SECONDS)
    return Record(peer_id=identity.peer_id, data=encode(said, identity), expires_at=said.expires_at)
