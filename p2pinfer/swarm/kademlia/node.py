"""One node of the DHT: hivemind's DHTNode with our protocol, and puts and gets that keep no caches.

hivemind's own store and get return cached values until they expire (readers would see a server for a minute
after it left), merge remote answers into the local storage, and drop a whole answer for one bad record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hivemind.dht.node import Blacklist, DHTNode
from hivemind.dht.routing import DHTID
from hivemind.dht.traverse import traverse_dht
from hivemind.p2p import P2P, PeerID

from p2pinfer.errors import InvalidRecordError
from p2pinfer.swarm.kademlia.place import introduction, place_of
from p2pinfer.swarm.kademlia.protocol import SwarmProtocol
from p2pinfer.swarm.kademlia.validator import Record, RecordValidator
from p2pinfer.swarm.kademlia.views import Views
from p2pinfer.tasks import Nursery, all_of, ending

REPLICAS = 5
WIDE_REPLICAS = 20
"""Where a member keeps its record that newcomers don't find."""
BUCKET_SIZE = 20
PARALLEL_SEARCHES = 6
MAX_VIEWERS = 3
"""Members that a reader asks for what they see themselves."""
_BAN_GROWTH = 2.0
_LONGEST_BANS = 4  # 5, 10, 20, 40 s: a car that drove through a tunnel is asked again soon


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimes:
    """How long a node waits for others."""

    answer_seconds: float = 3.0  # for one peer to answer one request
    settle_seconds: float = 0.5  # for slower peers, once one answer has come
    anchor_seconds: float = 2.0  # for the first of those that a reader always asks
    ban_seconds: float = 5.0  # a peer that didn't answer isn't asked for this long


class SwarmNode(DHTNode):  # type: ignore[misc]  # hivemind is untyped
    """Finds the nodes nearest to a key, puts records there and reads them back."""

    protocol: SwarmProtocol
    times: RequestTimes
    anchors: Callable[[], Sequence[PeerID]]
    """Members that are always asked, and where our records are kept too: those known longest."""

    @classmethod
    async def open(
        cls,
        p2p: P2P,
        *,
        proof: bytes,
        client_only: bool,
        predecessor: SwarmProtocol | None = None,
        times: RequestTimes | None = None,
    ) -> SwarmNode:
        """Take part through a running p2pd; with `client_only` ask others, but answer no requests.

        `proof` is that of the identity that p2pd has; one that only asks needs none.
        The records that a `predecessor` kept for the swarm are taken over: only its p2pd has ended.
        """
        times = times or RequestTimes()
        self = cls(_initialized_with_create=True)
        self.p2p = p2p
        self.peer_id = p2p.peer_id
        self.node_id = place_of(p2p.peer_id, proof)
        self.num_replicas, self.num_workers, self.chunk_size = REPLICAS, PARALLEL_SEARCHES, 1
        self.times = times
        self.blacklist = Blacklist(times.ban_seconds, _BAN_GROWTH)
        self._should_shutdown_p2p = False
        self.is_alive = True
        self.protocol = await SwarmProtocol.create(
            p2p,
            self.node_id,
            bucket_size=BUCKET_SIZE,
            depth_modulo=5,
            num_replicas=REPLICAS,
            wait_timeout=times.answer_seconds,
            cache_size=1,
            client_mode=client_only,
            record_validator=predecessor.record_validator if predecessor else RecordValidator(),
        )
        if not client_only:
            self.protocol.node_info.node_id = introduction(proof)
        self.anchors = tuple
        self.protocol.views = Views(lambda key: self._get(key, viewers=(), keepers=self.anchors()))
        if predecessor is not None:
            self.protocol.records.take_over(predecessor.records)
        return self

    async def meet(
        self, peers: Collection[PeerID], connect: Callable[[PeerID], Awaitable[bool]] | None = None
    ) -> list[float]:
        """Ping `peers` side by side; with `connect`, only the peers for which it returns True.

        Returns the clock differences, in seconds, of the peers that answered in time. Their bans are lifted.
        """

        async def reach(peer: PeerID) -> float | None:
            if connect is not None and not await connect(peer):
                return None
            difference = await self.protocol.clock_difference(peer)
            if difference is not None:
                self.blacklist.register_success(peer)
            return difference

        answers: list[float] = []
        async with Nursery() as nursery:
            patience_seconds = None if connect is not None else self.times.answer_seconds + 1.0
            pending = {nursery.start(reach(peer)) for peer in peers}
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=patience_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                answers.extend(answer for ping in done if (answer := ping.result()) is not None)
                if answers:
                    patience_seconds = self.times.settle_seconds
        return answers

    async def put(self, key: bytes, record: Record, *, widely: bool = False) -> int:
        """Store our record at the nodes nearest to `key`, which may include this one, and at our anchors.

        Others are likely to know these too: whoever takes all places near the key doesn't hide us from those
        who ask there. Storing `widely`, more nodes keep it. Returns how many nodes keep the record.
        """
        key_id, replicas = DHTID.from_bytes(key), WIDE_REPLICAS if widely else REPLICAS
        nearest = (await self.find_nearest_nodes([key_id], k_nearest=replicas, exclude_self=True))[key_id]
        targets = sorted([*nearest, self.node_id], key=key_id.xor_distance)[:replicas]
        if self.protocol.client_mode:
            targets = list(nearest)
        kept = 0
        if self.node_id in targets:
            kept += sum(self.protocol.keep(key, own) for own in self._valid(key, [record.data]))
        peers = dict.fromkeys(nearest[node] for node in targets if node in nearest)
        peers.update(dict.fromkeys(peer for peer in self.anchors() if peer not in self.blacklist))
        stores = [self.protocol.put(peer, key_id, record) for peer in peers]
        return kept + sum(bool(answer) for answer in await all_of(*stores))

    async def get(self, key: bytes) -> list[Record]:
        """The newest live record of every peer under `key`, from the nodes nearest to it and our anchors.

        The first of the anchors are asked for what they see themselves, the others for what they keep.
        Returns when the search is complete, or `settle_seconds` after the last answer that held records, so
        that a dead node near the key doesn't delay the reader; but not before one anchor has answered,
        unless none does for `anchor_seconds`.
        """
        anchors = self.anchors()
        return await self._get(key, viewers=anchors[:MAX_VIEWERS], keepers=anchors[MAX_VIEWERS:])

    async def _get(self, key: bytes, *, viewers: Sequence[PeerID], keepers: Sequence[PeerID]) -> list[Record]:
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

        async def ask_anchors() -> None:
            async def hear(answering: Awaitable[Collection[Record] | None]) -> None:
                records = await answering
                if records is not None:
                    take(records)
                    anchored.set()
                    if records:
                        progress.set()

            views = [self._view(peer, key_id) for peer in viewers]
            await all_of(*map(hear, [*views, *(self._kept(peer, key_id) for peer in keepers)]))

        async def traverse() -> None:
            if nodes:
                await traverse_dht(
                    queries=[key_id],
                    initial_nodes=list(nodes),
                    beam_size=BUCKET_SIZE,
                    num_workers=self.num_workers,
                    queries_per_call=1,
                    get_neighbors=ask,
                    visited_nodes={key_id: {self.node_id}},
                    await_all_tasks=False,
                )

        take(self._valid(key, self.protocol.records.get(key)))
        anchored = asyncio.Event()
        asking, searching = asyncio.create_task(ask_anchors()), asyncio.create_task(traverse())
        async with ending(asking), ending(searching):
            if viewers or keepers:
                await _first_of_anchors(asking, anchored, self.times.anchor_seconds)
            await _settle({asking, searching}, progress, self.times.settle_seconds)
        return list(newest.values())

    async def _view(self, peer: PeerID, key_id: DHTID) -> Collection[Record] | None:
        """What a peer sees under a key; None if it doesn't answer."""
        return None if peer in self.blacklist else await self.protocol.call_view(peer, key_id)

    async def _kept(self, peer: PeerID, key_id: DHTID) -> Collection[Record] | None:
        """What a peer keeps under a key; None if it doesn't answer."""
        answer = await self._call_find_with_blacklist(peer, [key_id])
        return None if answer is None else answer[key_id][0]

    def _valid(self, key: bytes, records: Iterable[bytes]) -> list[Record]:
        """What may be believed of the records that this node keeps, or is about to keep.

        What was right when it came may have been replaced since: another node has shown a newer one, or it
        has expired.
        """
        valid = []
        for data in records:
            with contextlib.suppress(InvalidRecordError):
                valid.append(self.protocol.record_validator.accept(key, data))
        return valid

    async def _call_find_with_blacklist(self, peer_id: PeerID, keys: Collection[DHTID]) -> Any:
        answer = await super()._call_find_with_blacklist(peer_id, keys)
        if answer is None:
            self.blacklist.ban_counter[peer_id] = min(self.blacklist.ban_counter[peer_id], _LONGEST_BANS - 1)
        return answer


async def _first_of_anchors(asking: asyncio.Task[None], anchored: asyncio.Event, seconds: float) -> None:
    """Wait until an anchor has answered, all have failed, or `seconds` are over."""
    async with ending(asyncio.create_task(anchored.wait())) as first:
        waiting: set[asyncio.Future[Any]] = {asking, first}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


async def _settle(tasks: set[asyncio.Task[None]], progress: asyncio.Event, settle_seconds: float) -> None:
    """Wait for `tasks`, but not longer than `settle_seconds` after the last progress.

    Raises what one of them raises.
    """
    patience_seconds: float | None = None
    while tasks:
        async with ending(asyncio.create_task(progress.wait())) as step:
            waiting: set[asyncio.Future[Any]] = {*tasks, step}
            done, _ = await asyncio.wait(
                waiting, timeout=patience_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        for task in done:
            task.result()
        if not done:
            return
        tasks = {task for task in tasks if task not in done}
        if progress.is_set():
            progress.clear()
            patience_seconds = settle_seconds
