"""The messages between nodes: hivemind's Kademlia messages, with all answers bounded and checked.

hivemind's DHTProtocol decodes msgpack from peers, and lets any peer store a value in another peer's name.
This one keeps hivemind's transport, messages and routing table, and replaces what happens to keys and values:
- Only its owner stores a record (libp2p authenticates the sender). Others don't copy, cache or hand it over.
- Values are sets of signed records in protobuf, never msgpack. Sender and receiver validate each record.
- A node's place in the key space follows from its peer id and the proof that it has paid (place.py). Nodes
  that show no proof are no neighbours, and nobody is asked before its proof was checked.
The handlers are called SwarmProtocol.rpc_*, so nodes of other hivemind networks can't call them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from hivemind.dht.protocol import DHTProtocol
from hivemind.dht.routing import DHTID
from hivemind.p2p import P2PContext, PeerID
from hivemind.proto import dht_pb2
from hivemind.utils.timed_storage import get_dht_time

from p2pinfer.errors import InvalidRecordError, ProtocolError, UnpaidRecordError
from p2pinfer.fairness.sources import Source
from p2pinfer.identity import PEER_ID_BYTES
from p2pinfer.swarm import store_pb2
from p2pinfer.swarm.cells.climb import is_crowded
from p2pinfer.swarm.gossip_pb2 import GossipAnswer, GossipRequest
from p2pinfer.swarm.kademlia.answers import key_id, packed
from p2pinfer.swarm.kademlia.checking import MOST_NODES, MOST_RECORDS, Checks
from p2pinfer.swarm.kademlia.hardening import spawn
from p2pinfer.swarm.kademlia.neighbourhood import Neighbourhood
from p2pinfer.swarm.kademlia.place import Place, introduced, paid_place, refuse_first_version
from p2pinfer.swarm.kademlia.popular import Popular
from p2pinfer.swarm.kademlia.store import RecordStore, Stored, refused
from p2pinfer.swarm.kademlia.validator import Record, RecordValidator
from p2pinfer.swarm.kademlia.views import Told, Views
from p2pinfer.swarm.record_pb2 import RecordSet
from p2pinfer.types import PeerId

MAX_KEYS_PER_REQUEST = 16
MAX_ANSWER_BYTES = 3_500_000  # hivemind silently drops unary messages over 4 MiB
MAX_KNOWN_NODES = 4096

Found = dict[DHTID, tuple[list[Record], dict[DHTID, PeerID]]]
"""Under each key the records of an answer, and the nodes near it."""

_logger = logging.getLogger(__name__)


class SwarmProtocol(DHTProtocol):  # type: ignore[misc]  # hivemind is untyped
    """One node's requests to others, and its answers to theirs."""

    # hivemind caches these on the class that is used first: without our own, DHTProtocol's would be used.
    _rpc_handlers = None
    _stub_type = None

    record_validator: RecordValidator
    views: Views | None = None  # what this node tells others of its own searches
    popular: Popular | None = None  # likewise, of keys that many ask for
    neighbourhood: Neighbourhood | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.records = RecordStore()  # `create` starts the handlers after this
        self.checks, self.told = Checks(), Told()
        self.source_of: Callable[[PeerId], Awaitable[Source | None]] = _nowhere  # a connected peer's
        self.foreign = ""
        """Why the last node that answered us can't be a neighbour; empty: they all could."""
        self._has_told_of_version_1 = False

    async def put(self, peer: PeerID, key: DHTID, record: Record) -> Stored | None:
        """Ask `peer` to keep our record. None if it doesn't answer."""
        request = dht_pb2.StoreRequest(
            keys=[key.to_bytes()],
            subkeys=[record.peer_id.encode()],
            values=[record.data],
            expiration_time=[record.expires_at],
            in_cache=[False],
            peer=self.node_info,
        )
        try:
            answer = await self.get_stub(peer).rpc_store(request, timeout=self.wait_timeout)
            (stored,) = answer.stored
            await self._answered(peer, answer.node_id)
        except Exception as error:  # noqa: BLE001 - every failure of a peer counts as no answer
            await self._no_answer(peer, error)
            return None
        return Stored(refusal=stored.refusal, is_full=stored.is_full, records=stored.records)

    async def rpc_store(self, request: dht_pb2.StoreRequest, context: P2PContext) -> store_pb2.StoreAnswer:
        """Handle a peer's request to keep its records. The answer says for each whether it is kept."""
        await self._asked(context.remote_id, request.peer)
        count = len(request.keys)
        if not (
            0 < count <= MAX_KEYS_PER_REQUEST
            and count == len(request.subkeys) == len(request.values) == len(request.expiration_time)
        ):
            raise ValueError(f"store 1 to {MAX_KEYS_PER_REQUEST} records, each with key, subkey and expiry")
        await self.checks.request(context.remote_id, request.values)
        sender = context.remote_id.to_base58()
        source = await self.source_of(PeerId(sender))
        answer = store_pb2.StoreAnswer(node_id=self.node_info.node_id)
        for key, subkey, value, expires_at in zip(
            request.keys, request.subkeys, request.values, request.expiration_time, strict=True
        ):
            stored = self._store(sender, key, subkey, value, expires_at, source)
            answer.stored.add(refusal=stored.refusal, is_full=stored.is_full, records=stored.records)
        return answer

    def _store(
        self,
        sender: str,
        key: bytes,
        subkey: bytes,
        value: bytes,
        expires_at: float,
        source: Source | None = None,
    ) -> Stored:
        if subkey != sender.encode():  # a replay, a relayed record or a forgery
            return refused("only its owner stores a record")
        try:
            record = self.record_validator.check(key, subkey, value, expires_at)
        except InvalidRecordError as error:
            _logger.debug("refused a record peer=%s reason=%s", sender, error)
            return refused(str(error))
        if self.neighbourhood is not None:
            self.neighbourhood.heard([record])
        return self.keep(key, record, source)

    def keep(self, key: bytes, record: Record, source: Source | None = None) -> Stored:
        """Keep a verified record in this node's store, or say why not. `source`: the owner's network."""
        return self.records.put(key, record, source)

    async def call_find(self, peer: PeerID, keys: Collection[DHTID]) -> Found | None:
        """Ask `peer` for nearer nodes, not for records. None if it doesn't answer, or answers nonsense."""
        return await self._call(self.get_stub(peer).rpc_nearest, peer, keys)

    async def call_records(self, peer: PeerID, keys: Collection[DHTID]) -> Found | None:
        """Ask `peer` for records and nearer nodes. None if it doesn't answer, or answers nonsense."""
        return await self._call(self.get_stub(peer).rpc_find, peer, keys)

    async def _call(
        self, ask: Callable[..., Awaitable[dht_pb2.FindResponse]], peer: PeerID, keys: Collection[DHTID]
    ) -> Found | None:
        request = dht_pb2.FindRequest(keys=[key.to_bytes() for key in keys], peer=self.node_info)
        try:
            response = await ask(request, timeout=self.wait_timeout)
            if len(response.results) != len(keys):
                raise ValueError(f"{len(response.results)} answers to {len(keys)} keys")
            await self._answered(peer, response.peer.node_id)
            await self.checks.answer(peer, response.results)
            found = {
                key: (self._verified(key, result), self._neighbours(result))
                for key, result in zip(keys, response.results, strict=True)
            }
        except Exception as error:  # noqa: BLE001 - as in put
            await self._no_answer(peer, error)
            return None
        return found

    async def rpc_find(self, request: dht_pb2.FindRequest, context: P2PContext) -> dht_pb2.FindResponse:
        """Handle a peer's search: send our records under its keys, and the known nodes nearest to them."""
        response = await self.rpc_nearest(request, context)
        asker = await self.told.asks(PeerId(context.remote_id.to_base58()), self.source_of)
        for key, result in zip(request.keys, response.results, strict=True):
            room = MAX_ANSWER_BYTES - sum(len(earlier.value) for earlier in response.results)
            result.value = self._packed(key, min(room, self.told.room(asker)))
            self.told.told(asker, len(result.value))
            if result.value:
                result.type, result.expiration_time = dht_pb2.FOUND_REGULAR, get_dht_time()
        return response

    def _packed(self, key: bytes, budget_bytes: int) -> bytes:
        """What we keep under a key, or have found there because so many ask."""
        kept = self._kept(key)
        if self.popular is not None and not is_crowded(len(kept)):
            kept = [record.data for record in self.popular.asked(key)] or kept
        return packed(kept, budget_bytes)

    def _kept(self, key: bytes) -> list[bytes]:
        """What we keep under a key, but for what a newer record has replaced: its owner went elsewhere."""
        kept = self.records.live(key)
        return [record.data for record in kept if not self.record_validator.is_replaced(record)]

    async def rpc_nearest(self, request: dht_pb2.FindRequest, context: P2PContext) -> dht_pb2.FindResponse:
        """Handle a peer's search for nodes: send those we know nearest to its keys."""
        await self._asked(context.remote_id, request.peer)
        keys = [key for key in map(key_id, request.keys) if key is not None]
        if not 0 < len(keys) == len(request.keys) <= MAX_KEYS_PER_REQUEST:
            raise ValueError(f"ask for 1 to {MAX_KEYS_PER_REQUEST} keys of {DHTID.HASH_NBYTES} bytes")
        asker = self.routing_table.get(peer_id=context.remote_id)
        response = dht_pb2.FindResponse(peer=self.node_info)
        for key in keys:
            neighbours = self.routing_table.get_nearest_neighbors(key, k=self.bucket_size, exclude=asker)
            response.results.append(
                dht_pb2.FindResult(
                    type=dht_pb2.NOT_FOUND,
                    nearest_node_ids=[place.proof for place, _ in neighbours],
                    nearest_peer_ids=[peer.to_bytes() for _, peer in neighbours],
                )
            )
        return response

    async def call_view(self, peer: PeerID, key: DHTID) -> list[Record] | None:
        """Ask `peer` what it sees under a key, from where it stands. None if it doesn't answer."""
        request = dht_pb2.FindRequest(keys=[key.to_bytes()], peer=self.node_info)
        try:
            response = await self.get_stub(peer).rpc_view(request, timeout=self.wait_timeout)
            await self.checks.answer(peer, response.results[:1])
            return self._verified(key, response.results[0])
        except Exception as error:  # noqa: BLE001 - as in put
            _logger.debug("no view of peer=%s reason=%r", peer, error)
            return None

    async def rpc_view(self, request: dht_pb2.FindRequest, context: P2PContext) -> dht_pb2.FindResponse:
        """Handle a peer's question for what we see under a key: our records, and those that we find."""
        await self._asked(context.remote_id, request.peer)
        keys = [key for key in map(key_id, request.keys) if key is not None]
        if not len(keys) == len(request.keys) == 1:
            raise ValueError(f"ask for one key of {DHTID.HASH_NBYTES} bytes")
        raw = keys[0].to_bytes()
        found: Iterable[Record] = ()
        peer = PeerId(context.remote_id.to_base58())
        if self.views is not None:
            found = await self.views.under(raw, peer, await self.source_of(peer))
        # What we keep is in what we find, but for records that a newer one has replaced.
        known = [*self._kept(raw), *(record.data for record in self.near(raw))]
        asker = await self.told.asks(peer, self.source_of)
        room = min(MAX_ANSWER_BYTES, self.told.room(asker))
        value = packed([record.data for record in found] or dict.fromkeys(known), room)
        self.told.told(asker, len(value))
        result = dht_pb2.FindResult(
            type=dht_pb2.FOUND_REGULAR if value else dht_pb2.NOT_FOUND,
            value=value,
            expiration_time=get_dht_time(),
        )
        return dht_pb2.FindResponse(peer=self.node_info, results=[result])

    def near(self, key: bytes) -> Sequence[Record]:
        """The records of neighbours that belong under a key."""
        return () if self.neighbourhood is None else self.neighbourhood.under(key)

    async def call_gossip(self, peer: PeerID, request: GossipRequest) -> GossipAnswer | None:
        """Ask `peer` for its neighbourhood, or push records. None if it doesn't answer."""
        try:
            answer: GossipAnswer = await self.get_stub(peer).rpc_gossip(request, timeout=self.wait_timeout)
            return answer
        except Exception as error:  # noqa: BLE001 - as in put
            _logger.debug("no gossip with peer=%s reason=%r", peer, error)
            return None

    async def rpc_gossip(self, request: GossipRequest, context: P2PContext) -> GossipAnswer:
        """Handle a peer's question for our neighbourhood, and the records that it pushes."""
        if self.neighbourhood is None:
            return GossipAnswer(refusal="this node is no server")
        peer = PeerId(context.remote_id.to_base58())
        return await self.neighbourhood.answer(peer, request, await self.source_of(peer))

    async def rpc_ping(self, request: dht_pb2.PingRequest, context: P2PContext) -> dht_pb2.PingResponse:
        """Handle a peer's ping: send our time, and remember the peer.

        hivemind's own fails for node ids of other lengths, and pings back a peer that asks for it.
        A node of version 1 is refused: it would believe that it has joined, and nobody would see it.
        """
        try:
            refuse_first_version(context.remote_id, request.peer.node_id)
        except ProtocolError as error:
            if not self._has_told_of_version_1:
                _logger.warning("a node can't join here: %s", error)
            self._has_told_of_version_1 = True
            raise
        await self._asked(context.remote_id, request.peer)
        return dht_pb2.PingResponse(peer=self.node_info, dht_time=get_dht_time())

    async def update_routing_table(
        self, node_id: DHTID | None, peer_id: PeerID, responded: bool = True
    ) -> None:
        """Remember a node that answered, at one place; forget one that didn't. Places have to be paid."""
        known = self.routing_table.get(peer_id=peer_id)
        if known is not None and (not responded or (node_id is not None and node_id != known)):
            del self.routing_table[known]
        if not responded or not isinstance(node_id, Place) or node_id == self.node_id:
            return
        if node_id not in self.routing_table and len(self.routing_table.uid_to_peer_id) >= MAX_KNOWN_NODES:
            return
        stale = self.routing_table.add_or_update_node(node_id, peer_id)
        if stale is not None:  # the bucket is full: check that the node heard from least recently still lives
            spawn(self.clock_difference(stale[1]))

    async def clock_difference(self, peer: PeerID) -> float | None:
        """Ping `peer` and remember it. Returns the seconds that its clock is ahead; None: no answer."""
        request = dht_pb2.PingRequest(peer=self.node_info, validate=False)
        asked_at = get_dht_time()
        try:
            response = await self.get_stub(peer).rpc_ping(request, timeout=self.wait_timeout)
            await self._answered(peer, response.peer.node_id)
        except Exception as error:  # noqa: BLE001 - as in put
            await self._no_answer(peer, error)
            return None
        return float(response.dht_time - (asked_at + get_dht_time()) / 2)

    async def _asked(self, peer: PeerID, info: Any) -> None:
        """Remember a node that asks us. Clients say no place: they don't answer, so no node keeps them."""
        if info.node_id:
            try:
                await self.checks.introduction(peer, info.node_id, asked=False)
                await self.update_routing_table(introduced(peer, info.node_id), peer, responded=True)
            except ProtocolError as error:
                _logger.debug("asked by a node that is no neighbour: %s", error)

    async def _answered(self, peer: PeerID, node_id: bytes) -> None:
        """Remember a node that answers us. Raises ProtocolError if it can't be a neighbour."""
        if not node_id:
            return
        await self.checks.introduction(peer, node_id, asked=True)
        try:
            place = introduced(peer, node_id)
        except ProtocolError as error:
            self.foreign = str(error)
            raise
        await self.update_routing_table(place, peer, responded=True)

    async def _no_answer(self, peer: PeerID, error: Exception) -> None:
        _logger.debug("no answer peer=%s reason=%r", peer, error)
        await self.update_routing_table(None, peer, responded=False)

    def _verified(self, key: DHTID, result: Any) -> list[Record]:
        """The valid records of an answer. Invalid ones are left out, the others stay.

        What comes after an unpaid record isn't looked at: an honest node keeps none, and a check takes 1 ms.
        """
        if len(result.value) > MAX_ANSWER_BYTES:
            return []
        try:
            values = RecordSet.FromString(result.value).records[:MOST_RECORDS]
        except DecodeError:
            return []
        return self._accepted(key.to_bytes(), values)

    async def verified(
        self, peer: PeerID, key: bytes, values: Iterable[bytes], *, asked: bool
    ) -> list[Record]:
        """The valid ones of records that `peer` shows; we have `asked` it, or not."""
        shown = list(values)
        try:
            await self.checks.records(peer, shown, asked=asked)
        except ProtocolError as error:
            _logger.debug("left out records of peer=%s reason=%s", peer, error)
            return []
        return self._accepted(key, shown)

    def _accepted(self, key: bytes, values: Iterable[bytes]) -> list[Record]:
        """Of each peer the newest: however often somebody is named, it is one."""
        newest: dict[PeerId, Record] = {}
        for value in dict.fromkeys(values):
            try:
                record = self.record_validator.accept(key, value)  # none that is older than the last
                newest[record.peer_id] = record
            except InvalidRecordError as error:
                _logger.debug("left out a record reason=%s", error)
                if isinstance(error, UnpaidRecordError):
                    break
        return list(newest.values())

    @staticmethod
    def _neighbours(result: Any) -> dict[DHTID, PeerID]:
        """The nodes of an answer that have paid. What comes after one that hasn't isn't looked at."""
        neighbours: dict[DHTID, PeerID] = {}
        peers = result.nearest_peer_ids[:MOST_NODES]
        for proof, raw in zip(result.nearest_node_ids, peers, strict=False):
            if len(raw) != PEER_ID_BYTES:  # check the length first: base58 takes quadratic time
                continue
            peer = PeerID(raw)
            try:
                neighbours[paid_place(peer, proof)] = peer
            except ProtocolError as error:
                _logger.debug("left out a neighbour: %s", error)
                break
        return neighbours


async def _nowhere(peer_id: PeerId) -> Source | None:
    return None
