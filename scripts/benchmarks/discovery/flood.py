"""More identities than a key holds records, each with a server under the model's key."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import psutil

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.kademlia.validator import Record, read_record
from p2pinfer.swarm.records.announcement import decode, encode
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId
from scripts.benchmarks.discovery.figures import Flood
from scripts.benchmarks.discovery.town import MODEL, SPANS, Pace, Town, announcement, town
from scripts.benchmarks.discovery.visitor import visit
from scripts.benchmarks.shared.report import say

_LIFETIME_SECONDS = 500.0
_AGAIN_SECONDS = 10.0
_BREATH_SECONDS = 0.05  # for the honest nodes, which are in this process
_PRICED = 3
_ANNOUNCED_SECONDS = 7.0  # more than a heartbeat


async def flood(
    members: int, identities: int, sleep_seconds: float, pace: Pace, price_seconds: float
) -> Flood:
    """Flood while one server sleeps; then it wakes up, another server is new, and a client comes.

    The records go straight into what handles a message of their owners at every honest node: a p2pd for each
    identity would take this machine's memory. What one costs is measured with a few that have one, and the
    price that nobody pays here is added.
    """
    async with town(members, pace) as here:
        each = price_seconds + statistics.median([await _cpu_seconds(here) for _ in range(_PRICED)])
        sleeper, newcomer = here.servers[0], here.plain[0]
        here.asleep.add(sleeper.identity.peer_id)
        strangers = [Identity.ephemeral() for _ in range(identities)]
        say(f"flood: {identities} identities, while a server sleeps for {sleep_seconds:g} s")
        woken_at = time.monotonic() + sleep_seconds
        while time.monotonic() < woken_at:
            await _store(here, strangers)
            await asyncio.sleep(_AGAIN_SECONDS)
        await _store(here, strangers)  # the sleeper's record has expired: its place is free
        here.asleep.clear()
        here.become_server(newcomer)
        await asyncio.sleep(_ANNOUNCED_SECONDS)
        kept = _kept(here)
        client = await visit(here, here.entrance, pace.patience_seconds)
    honest = [member.identity.peer_id for member in [*here.servers, newcomer]]
    return Flood(
        identities=identities,
        cpu_seconds_each=each,
        sleeper_back=sleeper.identity.peer_id in kept,
        newcomer_in=newcomer.identity.peer_id in kept,
        kept=sum(peer_id in kept for peer_id in honest),
        servers=len(honest),
        visit=client,
    )


async def _store(here: Town, strangers: Sequence[Identity]) -> None:
    """Announce a server of every stranger at every honest node, or renew it."""
    key = root_key(MODEL)
    records = [_record(identity) for identity in strangers]
    for member in here.members:
        for record in records:
            member.node.protocol._store(
                record.peer_id, key, record.peer_id.encode(), record.data, record.expires_at
            )
        await asyncio.sleep(_BREATH_SECONDS)


def _kept(here: Town) -> set[PeerId]:
    """Whose live records under the model's key are at any honest node."""
    key = root_key(MODEL)
    stores = [member.node.protocol.records for member in here.members]
    return {decode(data).peer_id for store in stores for data in store.get(key)}


async def _cpu_seconds(here: Town) -> float:
    """What a real identity takes: its key and record, and its p2pd from the start to the stored record."""
    began = time.thread_time()
    identity = Identity.ephemeral()
    record = _record(identity)
    seconds = time.thread_time() - began
    async with Swarm.join(here.entrance, identity, client_only=True) as swarm:
        await swarm.put([root_key(MODEL)], record)
        times = psutil.Process(swarm.daemon_pid).cpu_times()
    return seconds + float(times.user + times.system)


def _record(identity: Identity) -> Record:
    said = announcement(identity, SPANS[0], _LIFETIME_SECONDS)
    return read_record(encode(said, identity))
