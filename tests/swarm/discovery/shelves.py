"""A DHT without a network: real stores, five for each key, and the records that servers really sign."""

from __future__ import annotations

import time
from collections.abc import Sequence

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm.coordinates.quantized import ORIGIN, Quantized
from p2pinfer.swarm.discovery.discovery import Discovery
from p2pinfer.swarm.kademlia.node import REPLICAS
from p2pinfer.swarm.kademlia.store import RecordStore, Stored
from p2pinfer.swarm.kademlia.validator import Record, RecordValidator
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import Span
from tests.swarm.conftest import describe


class Shelves:
    """Stands for the nodes near each key: nobody leaves, and every message arrives."""

    def __init__(self) -> None:
        self.stores: dict[bytes, list[RecordStore]] = {}
        self.refusal: str | None = None  # what all keepers answer, if it isn't what their store says
        self.liars = 0  # keepers that say they are full, of the 2 * REPLICAS of a cell
        self.is_down = False
        self.puts: list[bytes] = []
        self.gets: list[bytes] = []

    async def put(self, keys: Sequence[bytes], record: Record, *, shared: bool) -> list[Stored]:
        """Keep a record under each of the keys."""
        if self.is_down:
            return []
        self.puts += keys
        if self.refusal is not None:
            return [Stored(refusal=self.refusal, is_full=False, records=0)] * REPLICAS
        honest = [(key, store) for key in keys for store in self._keepers(key)][self.liars :]
        full = Stored(refusal="full", is_full=True, records=10**6)
        return [full] * self.liars + [store.put(key, record) for key, store in honest]

    async def get(self, keys: Sequence[bytes], *, shared: bool = False) -> list[Record]:
        """What the keepers have under each of the keys."""
        if self.is_down:
            raise SwarmError("no peer of the swarm answers: is the network down?")
        self.gets += keys
        validator = RecordValidator()
        found: dict[str, Record] = {}
        for key in keys:
            for store in self._keepers(key):
                for data in store.get(key):
                    record = validator.accept(key, data)
                    held = found.get(record.peer_id)
                    if held is None or record.expires_at > held.expires_at:
                        found[record.peer_id] = record
        return list(found.values())

    def most_records(self) -> int:
        """Of any key."""
        return max(len(store.get(key)) for key, stores in self.stores.items() for store in stores)

    def _keepers(self, key: bytes) -> list[RecordStore]:
        return self.stores.setdefault(key, [RecordStore() for _ in range(REPLICAS)])


class Server:
    """One that announces itself."""

    def __init__(self, shelves: Shelves, cell: Quantized = ORIGIN, **fields: object) -> None:
        self.identity, self.fields = Identity.ephemeral(), {"cell": cell, "layers": Span(0, 30), **fields}
        self.discovery = Discovery(shelves, self.identity, lambda: cell, chance=lambda: 0.5)
        self.last: Announcement | None = None

    async def announce(self, **changes: object) -> Announcement:
        """Announce itself anew."""
        fields = {"expires_at": time.time() + 300.0, **self.fields, **changes}
        self.last = await self.discovery.announce(describe(self.identity, **fields))
        return self.last
