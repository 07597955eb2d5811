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
from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.kademlia.place import introduction, place_of
from p2pinfer.swarm.kademlia.popular import Popular
from p2pinfer.swarm.kademlia.protocol import SwarmProtocol
from p2pinfer.swarm.kademlia.store import Stored, refused
from p2pinfer.swarm.kademlia.validator import Record, RecordValidator, newest
from p2pinfer.swarm.kademlia.views import Views
from p2pinfer.tasks import Nursery, all_of, ending

REPLICAS = 5
WIDE_REPLICAS = 20
"""Where a member keeps its record that newcomers don't find."""
BUCKET_SIZE = 20
PARALLEL_SEARCHES = 8
KEEPERS_SECONDS = 50.0
"""The nodes nearest to a key are looked for again after these: three heartbeats of a server."""
WALKS = 4
"""Towards each key, that share no node."""
MAX_VIEWERS = 3
"""Members that a reader asks for what they see themselves."""
_BAN_GROWTH = 2.0
_MOST_COUNTED = 4096
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
    anchors: Callable[[bool], Sequence[PeerID]]
    """Members that are always asked, and where our records are kept too: those known longest.

    True: also the initial peers, which all members have in common.
    """
    _known_keepers: dict[bytes, tuple[list[PeerID], float]]  # by key, and until when

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
        self.anchors = lambda shared: ()
        self._known_keepers = {}
        self.protocol.popular = Popular(lambda key: self._get([key], viewers=(), keepers=()))
        self.protocol.views = Views(lambda key: self._get([key], viewers=(), keepers=self.anchors(False)))
        if predecessor is not None:
            self.protocol.records.take_over(predecessor.records)
            self.protocol.neighbourhood = predecessor.neighbourhood
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

    async def put(
        self, keys: Sequence[bytes], record: Record, *, shared: bool = True, widely: bool = False
    ) -> list[Stored]:
        """Store our record at the nodes nearest to each of `keys`, which may include this one.

        The first of the keys is also kept by our anchors. Others are likely to know these too: whoever takes
        all places near the keys doesn't hide us from those who ask there. Storing `widely`, more nodes keep
        it. Not `shared`, the initial peers are spared: many keep records under such keys.
        Returns what each keeper answers. Those that don't answer are left out, and others asked instead.
        """
        wanted = WIDE_REPLICAS if widely else REPLICAS
        anchors = {peer for peer in self.anchors(shared) if peer not in self.blacklist}
        asked: set[tuple[bytes, PeerID]] = set()
        answers: list[Stored] = []
        left = list(keys)
        for _ in range(2):
            keepers = dict(zip(left, await self._keepers(left, wanted), strict=True))
            new = [
                (key, peer)
                for key in left
                for peer in dict.fromkeys([*keepers[key], *(anchors if key == keys[0] else ())])
                if (key, peer) not in asked
            ]
            asked.update(new)
            found = await all_of(*(self._ask_to_keep(peer, key, record) for key, peer in new))
            answers += [answer for answer in found if answer is not None]
            silent = {pair for pair, answer in zip(new, found, strict=True) if answer is None}
            left = [key for key in left if any((key, peer) in silent for peer in keepers[key])]
            for key in left:  # others are the nearest now
                self._known_keepers.pop(key, None)
            if not left:
                break
        return answers

    async def _ask_to_keep(self, peer: PeerID, key: bytes, record: Record) -> Stored | None:
        """Ask `peer`, perhaps ourselves, to keep our record. None if it doesn't answer."""
        if peer == self.peer_id:
            return self._keep(key, record)
        answer = await self.protocol.put(peer, DHTID.from_bytes(key), record)
        self._remember(peer, answered=answer is not None)
        return answer

    async def _keepers(self, keys: Sequence[bytes], wanted: int) -> list[list[PeerID]]:
        """The `wanted` nodes nearest to each of `keys`, which may include this one.

        Those that answered lately are taken again: a search asks four times as many nodes as it finds.
        """
        now = asyncio.get_running_loop().time()
        known = self._known_keepers
        for key in [key for key, (_, until) in known.items() if until < now]:
            del known[key]
        missing = [DHTID.from_bytes(key) for key in keys if len(known.get(key, ((), 0.0))[0]) < wanted]
        found = await self.find_nearest_nodes(
            missing, k_nearest=wanted, exclude_self=self.protocol.client_mode
        )
        for key_id, nearest in found.items():
            known[key_id.to_bytes()] = (list(nearest.values()), now + KEEPERS_SECONDS)
        return [known[key][0][:wanted] for key in keys]

    async def get(self, keys: Sequence[bytes], *, shared: bool = True) -> list[Record]:
        """The newest live record of every peer under `keys`, from the nodes nearest to each and our anchors.

        The first of the anchors are asked for what they see under the first key themselves, the others for
        what they keep there. Returns when the search is complete, or `settle_seconds` after the last answer
        that held records, so that a dead node near a key doesn't delay the reader; but not before one anchor
        has answered, unless none does for `anchor_seconds`. Not `shared`, the initial peers are spared.
        """
        anchors = self.anchors(shared)
        return await self._get(keys, viewers=anchors[:MAX_VIEWERS], keepers=anchors[MAX_VIEWERS:])

    async def _get(
        self, keys: Sequence[bytes], *, viewers: Sequence[PeerID], keepers: Sequence[PeerID]
    ) -> list[Record]:
        heard: list[Record] = []
        progress, anchored = asyncio.Event(), asyncio.Event()

        def hear(records: Collection[Record]) -> None:
            heard.extend(records)
            if records:
                progress.set()

        async def ask_anchors() -> None:
            async def ask(answering: Awaitable[Collection[Record] | None]) -> None:
                records = await answering
                if records is not None:
                    hear(records)
                    anchored.set()

            first = DHTID.from_bytes(keys[0])
            views = [self._view(peer, first) for peer in viewers]
            await all_of(*map(ask, [*views, *(self._kept(peer, first) for peer in keepers)]))

        for key in keys:
            heard.extend(self._valid(key, self.protocol.records.get(key)))
            heard.extend(self.protocol.near(key))
        asking = asyncio.create_task(ask_anchors())
        searching = asyncio.create_task(self._search(keys, hear))
        async with ending(asking), ending(searching):
            if viewers or keepers:
                await _first_of_anchors(asking, anchored, self.times.anchor_seconds)
            await _settle({asking, searching}, progress, self.times)
        found = newest(heard)
        if self.protocol.neighbourhood is not None:
            self.protocol.neighbourhood.heard(found)
        return found

    async def _search(self, keys: Sequence[bytes], hear: Callable[[Collection[Record]], None]) -> None:
        """Walk towards each key, on WALKS ways that share no node.

        A hostile node leads whoever asks it to others of its kind. It spoils one of the ways, not all.
        Source: I. Baumgart and S. Mies, "S/Kademlia: A Practicable Approach Towards Secure Key-Based
        Routing", ICPADS 2007.
        """

        async def walk(key_id: DHTID, nodes: dict[DHTID, PeerID], taken: dict[DHTID, int], way: int) -> None:
            async def ask(
                node: DHTID, queries: Collection[DHTID]
            ) -> dict[DHTID, tuple[tuple[DHTID, ...], bool]]:
                if taken.setdefault(node, way) != way:
                    return dict.fromkeys(queries, ((), False))
                answer = await self._ask(nodes[node], key_id)
                if answer is None:
                    return dict.fromkeys(queries, ((), False))
                records, neighbours = answer
                hear(records)
                nodes.update(neighbours)
                # A node on the way tells as much as a keeper would of what everybody asks for.
                has_all = is_crowded(len(records))
                return {key_id: (tuple(one for one in neighbours if taken.get(one, way) == way), has_all)}

            await traverse_dht(
                queries=[key_id],
                initial_nodes=list(nodes),
                beam_size=BUCKET_SIZE,
                num_workers=max(1, self.num_workers // WALKS),
                queries_per_call=1,
                get_neighbors=ask,
                visited_nodes={key_id: {self.node_id}},
                await_all_tasks=False,
            )

        walks = []
        for key_id in map(DHTID.from_bytes, keys):
            known = self.protocol.routing_table.get_nearest_neighbors(
                key_id, BUCKET_SIZE, exclude=self.node_id
            )
            nearest = list(self._filter_blacklisted(dict(known)).items())
            taken: dict[DHTID, int] = {}
            walks += [
                walk(key_id, dict(nearest[way::WALKS]), taken, way) for way in range(min(WALKS, len(nearest)))
            ]
        await all_of(*walks)

    async def _view(self, peer: PeerID, key_id: DHTID) -> Collection[Record] | None:
        """What a peer sees under a key; None if it doesn't answer."""
        return None if peer in self.blacklist else await self.protocol.call_view(peer, key_id)

    async def _kept(self, peer: PeerID, key_id: DHTID) -> Collection[Record] | None:
        """What a peer keeps under a key; None if it doesn't answer."""
        answer = await self._ask(peer, key_id)
        return None if answer is None else answer[0]

    async def _ask(self, peer: PeerID, key_id: DHTID) -> tuple[list[Record], dict[DHTID, PeerID]] | None:
        """What a peer keeps under a key, and the nodes it knows near it; None if it doesn't answer."""
        if peer in self.blacklist:
            return None
        answer = await self.protocol.call_records(peer, [key_id])
        self._remember(peer, answered=answer is not None)
        if answer is None:
            return None
        records, nearest = answer[key_id]
        return records, self._filter_blacklisted(nearest)

    def _keep(self, key: bytes, record: Record) -> Stored:
        """Keep our own record, unless another node has shown a newer one."""
        try:
            return self.protocol.keep(key, self.protocol.record_validator.accept(key, record.data))
        except InvalidRecordError as error:
            return refused(str(error))

    def _valid(self, key: bytes, records: Iterable[bytes]) -> list[Record]:
        """What may be believed of the records that this node keeps.

        What was right when it came may have been replaced since: another node has shown a newer one, or it
        has expired.
        """
        valid = []
        for data in records:
            with contextlib.suppress(InvalidRecordError):
                valid.append(self.protocol.record_validator.accept(key, data))
        return valid

    async def _call_find_with_blacklist(self, peer_id: PeerID, keys: Collection[DHTID]) -> Any:
        if peer_id in self.blacklist:
            return None
        answer = await self.protocol.call_find(peer_id, keys)
        self._remember(peer_id, answered=answer is not None)
        if answer is None:
            return None
        return {key: (none, self._filter_blacklisted(nearest)) for key, (none, nearest) in answer.items()}

    def _remember(self, peer: PeerID, *, answered: bool) -> None:
        """Ban a peer that didn't answer, longer each time, but not for long; else lift its ban."""
        if answered:
            self.blacklist.register_success(peer)
            return
        counted = self.blacklist.ban_counter
        self.blacklist.register_failure(peer)
        counted[peer] = min(counted[peer], _LONGEST_BANS - 1)
        while len(counted) > _MOST_COUNTED:  # hivemind's forgets only those that answer again
            del counted[next(iter(counted))]


async def _first_of_anchors(asking: asyncio.Task[None], anchored: asyncio.Event, seconds: float) -> None:
    """Wait until an anchor has answered, all have failed, or `seconds` are over."""
    async with ending(asyncio.create_task(anchored.wait())) as first:
        waiting: set[asyncio.Future[Any]] = {asking, first}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


async def _settle(tasks: set[asyncio.Task[None]], progress: asyncio.Event, times: RequestTimes) -> None:
    """Wait for `tasks`, but not longer than `settle_seconds` after the last progress.

    Nor longer than `answer_seconds` after the first, or three times that without any: a crowd whose members
    answer slowly, one after the other, delays nobody for ever. Raises what one of the tasks raises.
    """
    now = asyncio.get_running_loop().time
    patience_seconds, until = float("inf"), now() + 3 * times.answer_seconds
    while tasks:
        async with ending(asyncio.create_task(progress.wait())) as step:
            waiting: set[asyncio.Future[Any]] = {*tasks, step}
            timeout = max(0.0, min(patience_seconds, until - now()))
            done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if not done or now() >= until:
            return
        tasks = {task for task in tasks if task not in done}
        if progress.is_set():
            progress.clear()
            if patience_seconds == float("inf"):
                patience_seconds, until = times.settle_seconds, min(until, now() + times.answer_seconds)
