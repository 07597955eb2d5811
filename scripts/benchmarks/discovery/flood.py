"""More identities than a key holds records, each with a server beside the honest ones, in every cell."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import psutil

from p2pinfer.identity import Identity
from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.cells.keys import keys_of, keys_of_cell
from p2pinfer.swarm.cells.place import DEPTH, ROOT, cell_of
from p2pinfer.swarm.kademlia.node import REPLICAS
from p2pinfer.swarm.kademlia.validator import Record, read_record
from p2pinfer.swarm.records.announcement import encode
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import PeerId
from scripts.benchmarks.discovery.figures import Flood
from scripts.benchmarks.discovery.hostile import distance
from scripts.benchmarks.discovery.town import MODEL, SPANS, Member, Pace, Town, announcement, town
from scripts.benchmarks.discovery.visitor import visit
from scripts.benchmarks.shared.report import say

_LIFETIME_SECONDS = 500.0
_AGAIN_SECONDS = 15.0  # a record is silent after 45 s
_BREATH_SECONDS = 0.05  # for the honest nodes, which are in this process
_PRICED = 3
_ANNOUNCED_SECONDS = 7.0  # more than a heartbeat
_VISITS = 10  # one after another, while the strangers' records aren't silent yet


async def flood(
    members: int, identities: int, sleep_seconds: float, pace: Pace, price_seconds: float
) -> Flood:
    """Flood while one server sleeps; then it wakes up, another server is new, and clients come.

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
        kept = _kept(here, [*here.servers, newcomer])
        visits = [await visit(here, here.entrance, pace.patience_seconds) for _ in range(_VISITS)]
    honest = [member.identity.peer_id for member in [*here.servers, newcomer]]
    return Flood(
        identities=identities,
        cpu_seconds_each=each,
        sleeper_back=sleeper.identity.peer_id in kept,
        newcomer_in=newcomer.identity.peer_id in kept,
        kept=sum(peer_id in kept for peer_id in honest),
        servers=len(honest),
        visits=visits,
    )


async def _store(here: Town, strangers: Sequence[Identity]) -> None:
    """Announce a server of every stranger, or renew it, in every cell down to one that isn't crowded by them.

    At the members that would keep the records: those nearest to each key, and the one that all know.
    """
    kept_by = _keepers(here, [_record(one) for one in strangers])
    for key, (records, keepers) in kept_by.items():
        for member in keepers:
            for record in records:
                member.node.protocol._store(
                    record.peer_id, key, record.peer_id.encode(), record.data, record.expires_at
                )
            await asyncio.sleep(_BREATH_SECONDS)


def _keepers(here: Town, records: Sequence[Record]) -> dict[bytes, tuple[list[Record], list[Member]]]:
    """The keys of the strangers' cells, the records for each, and the members that keep them."""
    cells: dict[str, list[Record]] = {ROOT: list(records)}
    depth = 0
    while depth < DEPTH and any(is_crowded(len(some)) for cell, some in cells.items() if len(cell) == depth):
        depth += 1
        for record in records:
            if is_crowded(len(cells[cell_of(record.place, depth - 1)])):
                cells.setdefault(cell_of(record.place, depth), []).append(record)
    return {
        key: (some, _nearest(here, key)) for cell, some in cells.items() for key in keys_of_cell(MODEL, cell)
    }


def _nearest(here: Town, key: bytes) -> list[Member]:
    nearest = sorted(here.members, key=lambda member: distance(key, member.identity))[:REPLICAS]
    return list(dict.fromkeys([here.members[0], *nearest]))


def _kept(here: Town, servers: Sequence[Member]) -> set[PeerId]:
    """Which of the servers have a live record at an honest node, under a key of any of their cells."""
    stores = [member.node.protocol.records for member in here.members]
    kept: set[PeerId] = set()
    for member in servers:
        keys = keys_of(MODEL, here.announcement(member.identity, SPANS[0]).place)
        found = [record.peer_id for key in keys for store in stores for record in store.live(key)]
        kept.update({member.identity.peer_id}.intersection(found))
    return kept


async def _cpu_seconds(here: Town) -> float:
    """What a real identity takes: its key and record, and its p2pd from the start to the stored record."""
    began = time.thread_time()
    identity = Identity.ephemeral()
    record = _record(identity)
    seconds = time.thread_time() - began
    async with Swarm.join(here.entrance, identity, client_only=True) as swarm:
        await swarm.put(keys_of_cell(MODEL, ROOT), record)
        times = psutil.Process(swarm.daemon_pid).cpu_times()
    return seconds + float(times.user + times.system)


def _record(identity: Identity) -> Record:
    said = announcement(identity, SPANS[0], _LIFETIME_SECONDS)
    return read_record(encode(said, identity))
