"""One node of the DHT: hivemind's DHTNode with our protocol, and puts and gets that keep no caches.

hivemind's own store and get hand out cached values for as long as they live (a server that left would be seen
for a minute), merge remote answers into the local storage, and give up a whole answer for one bad record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from hivemind.dht.node import Blacklist, DHTNode
from hivemind.dht.routing import DHTID
from hivemind.dht.traverse import traverse_dht
from hivemind.p2p import P2P, PeerID

from p2pinfer.swarm.kademlia.protocol import SwarmProtocol, node_id_of
from p2pinfer.swarm.kademlia.validator import Record, RecordValidator

REPLICAS = 5
BUCKET_SIZE = 20
PARALLEL_SEARCHES = 6
RPC_TIMEOUT_SECONDS = 3.0
SETTLE_SECONDS = 0.5  # once one answer is there, so long do we wait for slower peers
_BAN_SECONDS = 5.0
_BAN_GROWTH = 2.0
_LONGEST_BANS = 4  # 5, 10, 20, 40 s: a car that drove through a tunnel is asked again soon


class SwarmNode(DHTNode):  # type: ignore[misc]  # hivemind is untyped
    """Finds the nodes nearest to a key, puts records there and reads them back."""

    protocol: SwarmProtocol

    @classmethod
    async def open(
        cls, p2p: P2P, *, client_only: bool, predecessor: SwarmProtocol | None = None
    ) -> SwarmNode:
        """Take part with a running p2pd; `client_only` asks others but answers nobody.

        What a `predecessor` kept for the swarm is kept on: only its p2pd has ended.
        """
        self = cls(_initialized_with_create=True)
        self.p2p = p2p
        self.peer_id = p2p.peer_id
        self.node_id = node_id_of(p2p.peer_id)
        self.num_replicas, self.num_workers, self.chunk_size = REPLICAS, PARALLEL_SEARCHES, 1
        self.blacklist = Blacklist(_BAN_SECONDS, _BAN_GROWTH)
        self._should_shutdown_p2p = False
        self.is_alive = True
        self.protocol = await SwarmProtocol.create(
            p2p,
            self.node_id,
            bucket_size=BUCKET_SIZE,
            depth_modulo=5,
            num_replicas=REPLICAS,
            wait_timeout=RPC_TIMEOUT_SECONDS,
            cache_size=1,
            client_mode=client_only,
            record_validator=predecessor.record_validator if predecessor else RecordValidator(),
        )
        if predecessor is not None:
            self.protocol.records.take_over(predecessor.records)
        return self

    async def meet(
        self, peers: Collection[PeerID], connect: Callable[[PeerID], Awaitable[bool]] | None = None
    ) -> list[float]:
        """Ping `peers`; with `connect` only those to which it says that it could connect.

        Returns the clock differences, in seconds, of those that answered in time. Those are asked again at
        once, whatever was held against them.
        """

        async def reach(peer: PeerID) -> float | None:
            if connect is not None and not await connect(peer):
                return None
            difference = await self.protocol.clock_difference(peer)
            if difference is not None:
                self.blacklist.register_success(peer)
            return difference

        pings = [asyncio.create_task(reach(peer)) for peer in peers]
        answers: list[float] = []
        try:
            patience = None if connect is not None else RPC_TIMEOUT_SECONDS + 1.0
            pending = set(pings)
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                answers.extend(answer for ping in done if (answer := ping.result()) is not None)
                if answers:
                    patience = SETTLE_SECONDS
        finally:
            await _end(pings)
        return answers

    async def put(self, key: bytes, record: Record) -> int:
        """Store our record at the nearest nodes, us included if we are one. Returns how many keep it."""
        key_id = DHTID.from_bytes(key)
        nearest = (await self.find_nearest_nodes([key_id], k_nearest=REPLICAS, exclude_self=True))[key_id]
        targets = sorted([*nearest, self.node_id], key=key_id.xor_distance)[:REPLICAS]
        if self.protocol.client_mode:
            targets = list(nearest)
        kept = 0
        if self.node_id in targets:
            kept += self.protocol.keep(key, self.protocol.record_validator.accept(key, record.data))
        stores = [self.protocol.put(nearest[node], key_id, record) for node in targets if node in nearest]
        return kept + sum(bool(answer) for answer in await asyncio.gather(*stores))

    async def get(self, key: bytes) -> list[Record]:
        """The newest live record of every peer under `key`, from all the nodes nearest to it.

        Returns when the search is complete, or `SETTLE_SECONDS` after the last answer that held records:
        a dead node in the neighbourhood delays nobody.
        """
        key_id = DHTID.from_bytes(key)
        known = dict(
            self.protocol.routing_table.get_nearest_neighbors(key_id, BUCKET_SIZE, exclude=self.node_id)
        )
        nodes: dict[DHTID, PeerID] = self._filter_blacklisted(known)
        newest: dict[str, Record] = {}
        progress = asyncio.Event()

        def take(records: Collection[Record]) -> None:
            for record in records:
                held = newest.get(record.peer_id)
                if held is None or record.expires_at > held.expires_at:
                    newest[record.peer_id] = record

        async def ask(node: DHTID, queries: Collection[DHTID]) -> dict[DHTID, tuple[tuple[DHTID, ...], bool]]:
            answer = await self._call_find_with_blacklist(nodes[node], list(queries))
            if not answer:
                return dict.fromkeys(queries, ((), False))
            records, neighbours = answer[key_id]
            take(records)
            if records:
                progress.set()
            nodes.update(neighbours)
            return {key_id: (tuple(neighbours), False)}

        take([self.protocol.record_validator.accept(key, data) for data in self.protocol.records.get(key)])
        if nodes:
            search = asyncio.create_task(
                traverse_dht(
                    queries=[key_id],
                    initial_nodes=list(nodes),
                    beam_size=BUCKET_SIZE,
                    num_workers=self.num_workers,
                    queries_per_call=1,
                    get_neighbors=ask,
                    visited_nodes={key_id: {self.node_id}},
                    await_all_tasks=False,
                )
            )
            await _settle(search, progress)
        return list(newest.values())

    async def _call_find_with_blacklist(self, peer_id: PeerID, keys: Collection[DHTID]) -> Any:
        answer = await super()._call_find_with_blacklist(peer_id, keys)
        if answer is None:
            self.blacklist.ban_counter[peer_id] = min(self.blacklist.ban_counter[peer_id], _LONGEST_BANS - 1)
        return answer


async def _settle(search: asyncio.Task[Any], progress: asyncio.Event) -> None:
    """Wait for `search`, but not longer than `SETTLE_SECONDS` after the last progress."""
    patience: float | None = None
    try:
        while True:
            step = asyncio.create_task(progress.wait())
            try:
                done, _ = await asyncio.wait(
                    {search, step}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                await _end([step])
            if search in done:
                search.result()
                return
            if not done:
                return
            progress.clear()
            patience = SETTLE_SECONDS
    finally:
        await _end([search])


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
