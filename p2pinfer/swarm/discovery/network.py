"""What discovery needs of the DHT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from p2pinfer.swarm.kademlia.store import Stored
from p2pinfer.swarm.kademlia.validator import Record


class Network(Protocol):
    """The DHT, as this member reaches it. Its methods raise SwarmError while p2pd is away."""

    async def put(self, keys: Sequence[bytes], record: Record, *, shared: bool) -> list[Stored]:
        """Ask the keepers of each key to keep our record. Returns what those answer that do.

        `shared`: also the peers that all members know. Say so only of keys that few put to.
        """
        ...

    async def get(self, keys: Sequence[bytes], *, shared: bool) -> list[Record]:
        """The newest live record of every peer under any of `keys`. `shared` as above."""
        ...
