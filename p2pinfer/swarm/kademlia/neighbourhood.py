"""What a node asks of the part that knows its neighbourhood: the members whose records are near its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from p2pinfer.fairness.sources import Source
from p2pinfer.swarm.gossip_pb2 import GossipAnswer, GossipRequest
from p2pinfer.swarm.kademlia.validator import Record
from p2pinfer.types import PeerId


class Neighbourhood(Protocol):
    """See `swarm.gossip`. A member that announces nothing has none."""

    def heard(self, records: Iterable[Record]) -> None:
        """Records that were verified: shown by others, or put into our store."""
        ...

    def under(self, key: bytes) -> Sequence[Record]:
        """The records of neighbours that belong under a key."""
        ...

    async def answer(
        self, peer: PeerId, request: GossipRequest, source: Source | None = None
    ) -> GossipAnswer:
        """What `peer`, from a network, gets for its question, or for what it pushes."""
        ...
